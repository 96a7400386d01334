"""Failing runs can be saved, had again bit for bit, and made small."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from journeyman.sim.plan import Plan
from journeyman.sim.replay import Failure, Recording, examine
from journeyman.sim.shrink import shrink
from journeyman.sim.swarm import swarm

SEEDS = sorted((Path(__file__).parent / "seeds").glob("*.json"))


IMPOSSIBLE: list[Any] = ["clock", {"seconds": "never"}]  # a step that nobody can take


def broken(seed: int) -> Plan:
    """A swarm plan in whose middle stands a step that nobody can take."""
    plan = swarm(seed)
    lane = plan.lanes[0]
    middle = len(lane) // 2
    return dataclasses.replace(plan, lanes=[[*lane[:middle], IMPOSSIBLE, *lane[middle:]], *plan.lanes[1:]])


@pytest.mark.parametrize("seed", [1, 5])
def test_a_recording_replays_bit_for_bit(tmp_path: Path, seed: int) -> None:
    plan = broken(seed)
    recording = Recording.make(plan, examine(plan), "made by a test")
    saved = Recording.load(recording.save(tmp_path / "deep" / "run.json"))
    assert saved == recording
    replay = saved.replay()
    assert replay.bit_for_bit
    assert replay.verdict.startswith("it still fails in the same way: TypeError")


def test_a_mended_run_says_so() -> None:
    plan = broken(3)
    recording = Recording.make(plan, examine(plan))
    mended = dataclasses.replace(recording, plan=swarm(3))
    assert mended.replay().verdict == "it passes; another run than then (the code has changed)"


def test_another_failure_is_another_failure() -> None:
    one, two = Failure("QueueFull", "", "queue 'mail' has 5 tasks"), Failure("QueueFull", "", "queue 'api' has 17 tasks")
    assert one.same_way(two)
    assert not one.same_way(Failure("PromiseBroken", "live = replayed", "queue 'mail' has 5 tasks"))
    assert not one.same_way(None)


@pytest.mark.parametrize(
    ("text", "says"), [("{", "not a journeyman-sim file"), ("{}", "no header"), ('{"journeyman-sim": 9}', "newer Journeyman")]
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        Recording.load(path)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"plan": [1]}, "a plan is a map"),
        ({"plan": {"lanes": [1]}}, "lanes of a plan"),
        ({"plan": {"lanes": [[["sleep"]]]}}, "lanes of a plan"),
        ({"plan": {"deploys": [{}]}}, "deploys of a plan"),
        ({"plan": {"seed": "x"}}, "seed of a plan"),
        ({"plan": {"faults": {"crash": "x"}}}, "crash"),
        ({"plan": {"lanes": [[["explode", {}]]]}}, "knows no step 'explode'"),
        ({"failure": 3}, "a failure is texts"),
        ({"failure": {"a": 1}}, "a failure is texts"),
        ({"failure": {"kind": "X", "promise": "", "text": 3}}, "a failure is texts"),
    ],
)
def test_a_part_that_is_not_as_it_should_be_is_named(tmp_path: Path, part: dict[str, Any], says: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"journeyman-sim": 1, "plan": {}, **part}))
    with pytest.raises(ValueError, match=f"run.json cannot be run: .*{says}"):
        Recording.load(path)


@pytest.mark.parametrize("seed", [1, 4, 12])
def test_shrinking_leaves_what_matters(seed: int) -> None:
    plan = broken(seed)
    small = shrink(plan, seeds=1, runs=600)
    assert small.outcome.failure is not None
    assert small.outcome.failure.kind == "TypeError"
    assert small.plan.lanes == [[IMPOSSIBLE]], json.dumps(small.plan.facts())
    assert small.plan.faults == {}


def test_what_does_not_fail_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(Plan(lanes=[[["stats", {}]]]))


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    """Each file is a plan that showed a bug; a digest is that of the failing run, or, where that was not kept, of the mended one."""
    recording = Recording.load(path)
    outcome = recording.replay().outcome
    assert outcome.failure is None, f"{recording.note}: {outcome.failure}"

"""Coverage that can be believed: what CI's runs never reach fails here."""

from __future__ import annotations

import pytest

from journeyman.sim.coverage import EXPECTED, OPTIONS, SOMETIMES, Coverage
from journeyman.sim.swarm import swarm
from journeyman.sim.trace import Trace
from tests.sim.workloads import OTHERS, crowd

SEEDS = 260


@pytest.fixture(scope="module")
def coverage() -> Coverage:
    found = Coverage()
    for seed in range(SEEDS):
        found.add(swarm(seed).run())
    for workload in OTHERS:
        for seed in range(6):
            found.add(workload(seed))
    return found


def test_everything_that_can_be_reached_is_reached(coverage: Coverage) -> None:
    assert coverage.missing("transition", "fault", "sometimes") == [], coverage.render()


def test_every_policy_is_in_force_somewhere(coverage: Coverage) -> None:
    assert [name for name in OPTIONS if not coverage.reached[f"policy {name}"]] == [], coverage.render()


@pytest.mark.parametrize("seed", range(4))
def test_crowds_are_sound(seed: int) -> None:
    crowd(seed)


def test_coverage_adds_up_and_names_what_is_missing() -> None:
    one, other, trace = Coverage(), Coverage(), Trace()
    trace.reached.update({EXPECTED[0]: 2, f"sometimes {next(iter(SOMETIMES))}": 1})
    one.add(trace)
    other.add(trace)
    one.merge(other)
    assert (one.runs, one.reached[EXPECTED[0]]) == (2, 4)
    assert EXPECTED[0] not in one.missing()
    assert len(one.missing()) == len(EXPECTED) - 2
    text = one.render()
    assert text.startswith("2 runs reached")
    assert f"never reached: {len(EXPECTED) - 2}" in text
    assert max(map(len, text.splitlines())) <= 100

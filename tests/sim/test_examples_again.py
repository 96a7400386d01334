"""Failing examples of Hypothesis's are saved so that `journeyman sim replay` runs them bit for bit, or says why it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.engine import Queue
from journeyman.sim import Faults, World
from journeyman.sim.examples import Example, Outline
from journeyman.sim.reproduce import load, replay_file
from journeyman.sim.strategies import Scenario

LETTERS = '''
"""A handler that a crash makes charge twice, found by a machine and by a workload."""

import sys
from pathlib import Path
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule, run_state_machine_as_test
from journeyman import Constant, Queue, Retry
from journeyman.sim import Faults
from journeyman.sim.machine import SimulationMachine
from journeyman.sim.strategies import PHASES, fault_plans, scenarios

FEW = settings(max_examples=60, deadline=None, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink])
QUIET = st.just(Faults.none())
LIMIT = 1


def shop(world):
    orders = Queue("orders", retry=Retry(attempts=2, backoff=Constant(3)))

    @orders.handler
    async def charge(amount: int) -> None:
        world.effects.append(amount)
        assert amount < 1000, "dear"
        await trio.sleep(1)

    return [orders]


class Shop(SimulationMachine):
    fault_strategy = fault_plans(only=["restart"])
    bought = Bundle("bought")

    def queues(self, world):
        return shop(world)

    @rule(target=bought, amount=st.integers(1, 5000))
    def buy(self, amount):
        self.submit(f"order {amount}", "charge", amount)
        return amount

    @rule(amount=bought, text=st.text())
    def look(self, amount, text):
        async def charged_once(world, engine):
            await trio.sleep(100)
            assert world.effects.count(amount) <= LIMIT, f"{amount} twice"

        self.then(charged_once, text)

    @rule()
    def kill(self):
        self.crash()


TestShop = Shop.TestCase
TestShop.settings = settings(FEW, stateful_step_count=7)


@given(scenarios(lambda world: shop(world), st.tuples(st.just("charge"), st.tuples(st.integers(1, 50))), faults=QUIET))
@FEW
def test_any_workload(scenario):
    async def check(world, engine):
        assert len(world.effects) < 3, "three"

    scenario.run(check)


class TestLetters:
    @given(scenarios(shop, st.tuples(st.just("charge"), st.tuples(st.integers(1, 50))), faults=QUIET))
    @FEW
    def test_in_a_class(self, scenario):
        async def check(world, engine):
            assert await engine.count(state="succeeded") < 2, [charge for charge in world.effects]

        scenario.run(check)


@given(scenarios(shop, st.tuples(st.just("charge"), st.tuples(st.integers(2000, 5000))), faults=QUIET))
@FEW
def test_a_fixture(tmp_path_factory, scenario):
    async def check(world, engine):
        assert await engine.count(state="failed") == 0

    scenario.run(check)


def test_a_local_machine():
    class Local(Shop):
        pass

    run_state_machine_as_test(Local, settings=FEW)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In which pytest has run the tests above, all of which fail, as below a package."""
    made = tmp_path_factory.mktemp("project")
    (made / "checks" / "deep").mkdir(parents=True)
    (made / "checks" / "__init__.py").touch()
    (made / "checks" / "deep" / "__init__.py").touch()
    (made / "checks" / "deep" / "test_letters.py").write_text(LETTERS)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "checks"],
        cwd=made, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert "5 failed" in ran.stdout, ran.stdout
    assert "see it again: journeyman sim replay sim-failures/test_letters.Shop.json" in ran.stdout
    return made


def again(folder: Path, name: str, *options: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "journeyman", "sim", "replay", str(folder / "sim-failures" / name), *options]
    return subprocess.run(command, cwd=cwd or folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "name", ["test_letters.Shop.json", "test_letters.test_any_workload.json", "test_letters.TestLetters.test_in_a_class.json"]
)
def test_an_example_is_run_again_bit_for_bit(folder: Path, name: str, tmp_path: Path) -> None:
    saved = sorted((folder / "sim-failures").iterdir())
    for cwd in (folder, tmp_path):
        done = again(folder, name, cwd=cwd)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "it still fails in the same way: AssertionError: " in done.stdout
        assert "bit for bit the same run" in done.stdout
        assert "EngineBooted" in done.stdout
    assert sorted((folder / "sim-failures").iterdir()) == saved
    assert not (tmp_path / "sim-failures").exists()


def test_the_file_tells_what_was_done(folder: Path) -> None:
    example = load(folder / "sim-failures" / "test_letters.Shop.json")
    assert isinstance(example, Example)
    assert (example.origin.file, example.origin.module) == ("checks/deep/test_letters.py", "checks.deep.test_letters")
    assert (example.origin.name, example.origin.missing, example.origin.steps) == ("Shop", "", 7)
    assert example.outline.faults == {}
    assert len(example.outline.commands) <= 3
    assert example.outline.commands[0].startswith("submit order")
    assert Example.of(json.loads(example.text())) == example


@pytest.mark.parametrize(
    ("name", "says"),
    [("test_letters.test_a_fixture.json", "is given tmp_path_factory by pytest"), ("test_letters.Local.json", "is made inside a function")],
)
def test_what_a_replay_cannot_have_is_said_in_the_file(folder: Path, name: str, says: str) -> None:
    assert says in json.loads((folder / "sim-failures" / name).read_text())["example"]["missing"]
    done = again(folder, name)
    assert done.returncode == 2
    with pytest.raises(ValueError, match=says) as caught:
        replay_file(folder / "sim-failures" / name)
    assert "@hypothesis.reproduce_failure(" in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"file": "checks/gone.py"}, "checks/gone.py is not there"),
        ({"name": "Gone"}, "has no Gone any more"),
        ({"name": "shop"}, "is no SimulationMachine any more"),
        ({"of": "test", "name": "shop"}, "is no test with @given any more"),
        ({"hypothesis": "6.0.1"}, "pip install hypothesis==6.0.1"),
        ({"blob": "AXic"}, "cannot read its choices"),
        ({"blob": 3}, "blob is not as it should be"),
        ({"more": 3}, "'example' is not as it should be"),
    ],
)
def test_a_file_that_no_longer_fits_says_who_must_do_what(folder: Path, tmp_path: Path, parts: dict[str, Any], says: str) -> None:
    facts = json.loads((folder / "sim-failures" / "test_letters.Shop.json").read_text())
    facts["example"] |= parts
    edited(folder, tmp_path, "", "")
    (tmp_path / "sim-failures" / "test_letters.Shop.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=says):
        replay_file(tmp_path / "sim-failures" / "test_letters.Shop.json")


def edited(folder: Path, into: Path, old: str, new: str) -> None:
    """The project of `folder` once more, with its code changed."""
    (into / "checks" / "deep").mkdir(parents=True)
    for each in ("checks/__init__.py", "checks/deep/__init__.py"):
        (into / each).touch()
    assert old in LETTERS
    (into / "checks" / "deep" / "test_letters.py").write_text(LETTERS.replace(old, new))
    (into / "sim-failures").mkdir()
    for file in (folder / "sim-failures").iterdir():
        (into / "sim-failures" / file.name).write_text(file.read_text())


def test_a_mended_check_passes(folder: Path, tmp_path: Path) -> None:
    edited(folder, tmp_path, "LIMIT = 1", "LIMIT = 100")
    done = again(tmp_path, "test_letters.Shop.json", "--lines", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it passes; " in done.stdout


def test_a_mended_handler_makes_another_run(folder: Path, tmp_path: Path) -> None:
    edited(folder, tmp_path, "world.effects.append(amount)", "world.effects.once(amount)")
    done = again(tmp_path, "test_letters.Shop.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it passes; another run than then" in done.stdout


@pytest.mark.parametrize("new", ["self, amount=7):\n        amount = 7\n", "self, amount):\n        amount += 1\n"])
def test_another_example_than_then_is_no_replay(folder: Path, tmp_path: Path, new: str) -> None:
    edited(folder, tmp_path, "def buy(self, amount):\n", "def buy(" + new)
    done = again(tmp_path, "test_letters.Shop.json")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no longer fits: run the test again" in " ".join(done.stderr.split())


def test_choices_that_are_too_few_are_no_replay(folder: Path, tmp_path: Path) -> None:
    edited(folder, tmp_path, "amount=st.integers(1, 5000)", "amount=st.lists(st.integers(), min_size=99).map(len)")
    with pytest.raises(ValueError, match="no longer fits: run the test again"):
        replay_file(tmp_path / "sim-failures" / "test_letters.Shop.json")


def test_a_version_of_hypothesis_without_the_choices_costs_only_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("hypothesis.core.encode_failure")

    @given(st.integers())
    @settings(max_examples=2, database=None, print_blob=False)  # printing it, as CI does, wants what is missing here
    def breaks(number: int) -> None:
        async def check(world: World, engine: Any) -> None:
            raise LookupError("found")

        Scenario(lambda: [Queue("mail")], [], Faults.none(), 0, tmp_path).run(check)

    with pytest.raises(LookupError):
        breaks()
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["failure"]["kind"] == "LookupError"


def test_a_scenario_that_nobody_drew_is_saved_and_says_so(tmp_path: Path) -> None:
    async def check(world: World, engine: Any) -> None:
        raise LookupError("found")

    with pytest.raises(LookupError) as caught:
        Scenario(lambda: [Queue("mail")], [], Faults.none(), 0, tmp_path).run(check)
    assert any("scenario.json" in note for note in caught.value.__notes__)
    with pytest.raises(ValueError, match="nothing says which test"):
        replay_file(tmp_path / "scenario.json")


def test_a_file_of_before_says_so(tmp_path: Path) -> None:
    (tmp_path / "Old.json").write_text('{"journeyman-sim": 1, "machine": "Old", "commands": []}')
    with pytest.raises(ValueError, match="run the test of Old again"):
        load(tmp_path / "Old.json")


def test_an_outline_knows_no_addresses() -> None:
    assert Outline(1, {}, ["submit <f at 0x7f01>"]) == Outline(1, {}, ["submit <f at 0x7f02>"])
    assert Outline(1, {}, ["a"]) != Outline(2, {}, ["a"])

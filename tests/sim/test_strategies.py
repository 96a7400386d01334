"""Hypothesis drives simulated worlds: strategies, state machine, shrinking to something small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from journeyman.engine import Context, Queue
from journeyman.sim import Deadlock, Faults, World
from journeyman.sim.faults import KINDS, chance_of
from journeyman.sim.machine import SimulationMachine
from journeyman.sim.plan import Plan
from journeyman.sim.replay import Recording, run_or_save
from journeyman.sim.strategies import PHASES, Scenario, fault_plans, plans, policies, scenarios, seeds

FEW = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
)
queue = Queue("mail", concurrency=2)
cards = Queue("cards")


@queue.handler
async def send(ctx: Context, to: int) -> int:
    await trio.sleep(to)
    return to


@given(scenarios(lambda: [queue], st.tuples(st.just(send), st.tuples(st.integers(0, 9)))))
@FEW
def test_any_workload_holds_the_promises(scenario: Scenario) -> None:
    async def check(world: World, engine: Any) -> None:
        world.calm()
        await engine.drain()
        assert await engine.count(state=["pending", "running", "retrying"]) == 0

    scenario.run(check)


@given(policies())
@FEW
def test_any_policy_is_one(policy: dict[str, Any]) -> None:
    assert Queue("mail", **policy).name == "mail"


@given(plans())
@FEW
def test_any_plan_holds_the_promises(plan: Plan) -> None:
    run_or_save(plan, "sim-failures/plans.json")


def test_faults_shrink_to_none() -> None:
    assert find(fault_plans(), lambda faults: True) == Faults.none()
    assert find(fault_plans(), lambda faults: faults.crash > 0).facts().keys() == {"crash"}
    assert find(fault_plans(only=["stall"]), lambda faults: faults.any).facts().keys() == {"stall"}


@given(fault_plans())
@FEW
def test_a_plan_names_only_what_can_strike(faults: Faults) -> None:
    assert all(chance_of(faults, name) > 0 for name in KINDS if name in faults.facts())


def test_nothing_is_left_of_a_fault_that_shrinks_to_no_chance() -> None:
    assert find(fault_plans(only=["stall", "crash"], most=0.0), lambda faults: True) == Faults.none()

    @given(fault_plans(most=0.0))
    @settings(FEW, phases=[Phase.generate])
    def draw(faults: Faults) -> None:
        assert not set(faults.facts()) & set(KINDS)

    draw()


def test_a_machine_is_not_traced_line_by_line() -> None:
    """The explain phase took a gigabyte, and four times as long (PHASES)."""
    assert Phase.explain not in Cards.TestCase.settings.phases
    assert {Phase.generate, Phase.shrink} <= set(Cards.TestCase.settings.phases)
    assert Cards.TestCase.settings.deadline is None
    assert set(PHASES) == set(Phase) - {Phase.explain}

    @settings(max_examples=7, phases=list(Phase))
    class Own(Cards):
        """Who wants it has it."""

    assert (Own.TestCase.settings.max_examples, Phase.explain in Own.TestCase.settings.phases) == (7, True)


def test_seeds_are_drawn() -> None:
    seen: set[int] = set()

    @given(seeds())
    @settings(FEW, phases=[Phase.generate])
    def draw(seed: int) -> None:
        seen.add(seed)

    draw()
    assert len(seen) > 10


def test_a_failing_plan_is_saved_at_its_smallest(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"

    @given(plans(most=4))
    @settings(FEW, max_examples=40)
    def breaks(plan: Plan) -> None:
        if any(verb == "sleep" for lane in plan.lanes for verb, _ in lane):
            plan.lanes[0].append(["clock", {"seconds": "never"}])
        run_or_save(plan, path)

    with pytest.raises(TypeError):
        breaks()
    saved = Recording.load(path)
    assert saved.plan.faults == {}
    assert sorted(verb for lane in saved.plan.lanes for verb, _ in lane) == ["clock", "sleep"]
    assert saved.replay().bit_for_bit


def test_a_failure_that_cannot_be_saved_is_the_failure_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    class Lost(SimulationMachine):
        save_to = tmp_path / "file" / "folder"

        @rule()
        def pass_time(self) -> None:
            self.sleep(1)

        async def finish(self, world: World, engine: Any) -> None:
            raise AssertionError("what the test found")

    with pytest.raises(AssertionError, match="what the test found") as caught:
        run_state_machine_as_test(Lost, settings=settings(FEW, max_examples=3))  # type: ignore[no-untyped-call]
    assert any("could not be saved" in note for note in caught.value.__notes__)
    with pytest.raises(TypeError) as raised:
        run_or_save(Plan(lanes=[[["clock", {"seconds": "never"}]]]), tmp_path / "file" / "plan.json")
    assert any("could not be saved" in note for note in raised.value.__notes__)


class Cards(SimulationMachine):
    """A handler that charges again after a crash, and a rule that finds it out."""

    fault_strategy = fault_plans(only=["restart", "disk_latency"])

    def queues(self) -> list[Queue]:
        return [cards]

    @rule(amount=st.integers(1, 50))
    def buy(self, amount: int) -> None:
        self.submit("order", charge, amount)
        self.promise(lambda world: world.effects.assert_at_most_once())

    @rule(seconds=st.sampled_from((0.5, 100.0)))
    def pass_time(self, seconds: float) -> None:
        self.sleep(seconds)

    @rule()
    def kill(self) -> None:
        self.crash()

    @rule()
    def look(self) -> None:
        self.wait("order")


charged: Any = None


@cards.handler
async def charge(ctx: Context, amount: int) -> None:
    charged(ctx.id)
    await trio.sleep(1)


def test_a_machine_finds_the_mistake_and_saves_it(tmp_path: Path) -> None:
    class Saved(Cards):
        save_to = tmp_path

        async def _scenario(self, world: World) -> None:
            global charged
            charged = world.effects.append
            await super()._scenario(world)

    with pytest.raises(AssertionError, match="at most once"):
        run_state_machine_as_test(Saved, settings=settings(FEW, max_examples=60, stateful_step_count=8))  # type: ignore[no-untyped-call]
    facts = json.loads((tmp_path / "test_strategies.Saved.json").read_text())
    assert any(what.startswith("submit") for what in facts["commands"])
    assert "crash" in facts["commands"]
    assert len(facts["commands"]) <= 6, facts
    with pytest.raises(ValueError, match="state machine"):
        Recording.load(tmp_path / "test_strategies.Saved.json")


def test_a_machine_that_holds_passes() -> None:
    class Sound(Cards):
        async def _scenario(self, world: World) -> None:
            global charged
            charged = world.effects.once
            await super()._scenario(world)

        async def finish(self, world: World, engine: Any) -> None:
            assert await engine.count(state="running") == 0

    run_state_machine_as_test(Sound, settings=FEW)  # type: ignore[no-untyped-call]


class Waiting(SimulationMachine):
    """One rule, and handlers that may wait for ever."""

    fault_strategy = st.just(Faults.none())
    save_to = None
    for_ever = True

    def queues(self) -> list[Queue]:
        waiting = Queue("waiting")

        @waiting.handler
        async def wait() -> None:
            if self.for_ever:
                await trio.Event().wait()

        return [waiting]

    @rule()
    def begin_one(self) -> None:
        self.submit("one", "wait")


def test_a_machine_sees_a_deadlock() -> None:
    with pytest.raises(Deadlock, match="nothing can happen any more"):
        run_state_machine_as_test(Waiting, settings=settings(FEW, max_examples=5))  # type: ignore[no-untyped-call]


def test_a_fault_that_makes_a_handler_hang_is_waited_for_a_day() -> None:
    machine = Waiting()
    machine.for_ever, machine.faults = False, Faults(handler_hang=1.0)
    machine.begin_one()
    machine.teardown()
    assert machine.trace is not None
    assert 86_400 <= machine.trace.seconds < 2 * 86_400


def test_hypothesis_is_not_needed_for_the_rest(tmp_path: Path) -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import journeyman.sim, journeyman.sim.swarm, journeyman.sim.shrink"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)

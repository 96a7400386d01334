"""Checks of a user's own in Hypothesis's worlds: when they are made, what they raise, and what cuts them short."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis.stateful import rule

from journeyman.engine import Context, HandlerNotFound, JourneymanError, Queue, Retry, TaskFailed
from journeyman.sim import EngineCrashed, Faults, World
from journeyman.sim.machine import SimulationMachine
from journeyman.sim.patience import TRIES
from journeyman.sim.strategies import Scenario

chores = Queue("chores", retry=Retry(attempts=1))


@chores.handler
async def fail() -> None:
    raise ValueError("as always")


@chores.handler
async def take_long(ctx: Context) -> None:
    await trio.sleep(1000)


class Chores(SimulationMachine):
    save_to = None

    def queues(self, *_: Any) -> list[Queue]:
        return [chores]

    @rule()
    def nothing(self) -> None:
        """Hypothesis wants one; these tests play its part."""


def run(*checks: Callable[[World, Any], Awaitable[object]], faults: Faults | None = None) -> Chores:
    machine = Chores()
    machine.faults = faults or Faults.none()
    for check in checks:
        machine.then(check)
    machine.teardown()
    return machine


async def ask_for_the_result(world: World, engine: Any) -> None:
    await (await engine.submit(fail)).result()


async def be_too_slow(world: World, engine: Any) -> None:
    with trio.fail_after(1):
        await trio.sleep(2)


async def submit_to_nobody(world: World, engine: Any) -> None:
    await engine.submit("nobody")


@pytest.mark.parametrize(
    ("check", "error"),
    [(ask_for_the_result, TaskFailed), (be_too_slow, trio.TooSlowError), (submit_to_nobody, (JourneymanError, LookupError))],
)
def test_what_a_check_raises_fails_the_example(check: Callable[[World, Any], Awaitable[object]], error: Any) -> None:
    with pytest.raises(error):
        run(check)


def test_what_a_command_is_refused_is_part_of_the_day() -> None:
    machine = Chores()
    machine.submit("one", take_long)
    machine.wait("one", timeout=1)
    machine.submit("two", fail)
    machine.sleep(2000)
    machine.cancel("one")  # it has ended
    machine.teardown()
    assert machine.trace is not None
    assert machine.trace.counts["refused"] == 2


@pytest.mark.parametrize("in_a_nursery", [False, True])
def test_a_check_that_a_crash_cuts_short_is_made_again(in_a_nursery: bool) -> None:
    made: list[str] = []

    async def check(world: World, engine: Any) -> None:
        made.append("begun")
        async with trio.open_nursery() as nursery:
            if in_a_nursery:
                nursery.start_soon(engine.count)
            if len(made) < 3:
                await world.crash()
            if not in_a_nursery:
                await engine.count()
        made.append("done")

    run(check)
    assert made == ["begun", "begun", "begun", "done"]


def test_a_check_that_is_always_cut_short_fails_in_the_end() -> None:
    tries = 0

    async def check(world: World, engine: Any) -> None:
        nonlocal tries
        tries += 1
        await world.crash()
        await engine.count()

    with pytest.raises(EngineCrashed) as caught:
        run(check)
    assert tries == TRIES
    assert any(f"cut short like this {TRIES} times" in note for note in caught.value.__notes__)


def test_an_engine_that_a_check_has_stopped_is_not_waited_for() -> None:
    """The example did not end, and no clock could end it: the engine was asked again and again in one instant."""

    async def stop(world: World, engine: Any) -> None:
        await engine.stop()

    machine = run(stop)
    assert machine.trace is not None
    assert machine.trace.seconds < 2 * TRIES


def test_checks_come_through_a_bad_day() -> None:
    done: list[int] = []

    async def check(world: World, engine: Any) -> None:
        assert await engine.count(state="failed") == 0
        done.append(1)

    for seed in range(10):
        machine = Chores()
        machine.seed, machine.faults = seed, Faults(crash=0.05, torn_commit=0.05, disk_full=0.05, read_error=0.05)
        machine.submit("long", take_long)
        machine.then(check)
        machine.teardown()
    assert len(done) >= 10


def test_a_scenario_is_checked_when_all_is_done_and_calm() -> None:
    seen: list[tuple[bool, int]] = []

    async def check(world: World, engine: Any) -> None:
        seen.append((world.faults.any, await engine.count(state="succeeded")))

    faults = Faults(crash=0.01)
    Scenario(lambda: [chores], [("submit", (take_long, ()))], faults, 3).run(check)
    assert seen == [(False, 1)]


def test_what_the_check_of_a_scenario_raises_is_raised() -> None:
    async def check(world: World, engine: Any) -> None:
        await submit_to_nobody(world, engine)

    with pytest.raises((JourneymanError, LookupError)):
        Scenario(lambda: [chores], [], Faults.none(), 0).run(check)


def counting(world: World) -> list[Queue]:
    """Queues whose handlers know their world."""
    counted = Queue("counted")

    @counted.handler
    async def count() -> None:
        world.effects.append(("counted", world.random.random()))

    world.invariant(lambda: world.effects.assert_at_most_once())
    return [counted]


def test_the_queues_of_a_scenario_may_know_their_world() -> None:
    async def check(world: World, engine: Any) -> None:
        assert len(list(world.effects)) == 2

    Scenario(counting, [("submit", ("count", ())), ("submit", ("count", ()))], Faults.none(), 1).run(check)


def test_the_queues_of_a_machine_may_know_their_world() -> None:
    worlds: list[World] = []

    class Counted(Chores):
        def queues(self, world: World) -> list[Queue]:
            worlds.append(world)
            return counting(world)

        async def finish(self, world: World, engine: Any) -> None:
            assert len(list(world.effects)) == 1

    machine = Counted()
    machine.crash()
    machine.sleep(60)
    machine.submit("one", "count")
    machine.sleep(60)
    machine.teardown()
    assert len(worlds) == 2
    assert worlds[0] is worlds[1]


def test_an_invariant_of_queues_made_at_a_boot_ends_with_that_boot() -> None:
    """It is about the module state of a process, and that process is dead."""
    asked: list[int] = []
    boots = 0

    class Booted(Chores):
        def queues(self, world: World) -> list[Queue]:
            nonlocal boots
            boots += 1
            of = boots
            world.invariant(lambda: asked.append(of))
            return [chores]

    machine = Booted()
    machine.crash()
    machine.sleep(10)
    machine.submit("long", take_long)
    machine.teardown()
    assert set(asked) == {1, 2}
    assert asked == sorted(asked)


@pytest.mark.parametrize(("name", "args", "error"), [("fial", (), HandlerNotFound), ("fail", (object(),), TypeError)])
def test_a_call_that_no_engine_could_take_is_a_mistake_in_the_machine(name: str, args: tuple[object, ...], error: type[Exception]) -> None:
    machine = Chores()
    machine.faults = Faults.none()
    machine.submit("it", name, *args)
    with pytest.raises(error):
        machine.teardown()


def test_an_error_may_have_a_trace_of_its_own(tmp_path: Path) -> None:
    class Mine(Exception):
        trace = "own"

        def __init__(self) -> None:
            super().__init__("mine")
            self.trace = "own"

    async def check(world: World, engine: Any) -> None:
        raise Mine

    machine = Chores()
    machine.save_to = tmp_path  # type: ignore[misc]
    machine.faults = Faults.none()
    machine.then(check)
    with pytest.raises(Mine):
        machine.teardown()
    assert [path.name for path in tmp_path.iterdir()] == ["test_checks.Chores.json"]

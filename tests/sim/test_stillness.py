"""When nothing can move: a world that lives is not called still, one that is still is, and each ends in bounded time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio

from journeyman import Context, Queue, Retry
from journeyman.sim import Deadlock, Faults, OutOfTime, World, simulate
from tests.sources import ROOT

DAY = 86_400.0


def naps(seconds: float = 1.0) -> Queue:
    queue = Queue("naps", retry=Retry(attempts=2, crashes=1))

    @queue.handler
    async def nap() -> None:
        await trio.sleep(seconds)

    return queue


# --- worlds that live -----------------------------------------------------------------------------------------------------------------


def test_a_stopped_engine_may_be_slept_over() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[naps()]) as engine:
            assert await engine.stop()
            await trio.sleep(DAY)

    assert simulate(scenario).seconds >= DAY


def test_a_stopped_engine_beside_one_at_work() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[naps()]) as idle, world.engine(queues=[naps(7200)], path="other") as busy:
            await idle.stop()
            handle = await busy.submit("nap")
            assert (await handle.wait()).state == "succeeded"

    simulate(scenario)


@pytest.mark.parametrize(
    "faults",
    [Faults(disk_latency=(600, 600)), Faults(slow_disk=(0.5, 400)), Faults(stall=(0.1, 1000))],
    ids=lambda plan: str(plan.facts()),
)
def test_what_is_slow_is_not_still(faults: Faults) -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[naps()]) as engine:
            for _ in range(3):
                handle = await engine.submit("nap")
                await handle.wait()

    for seed in range(20):
        simulate(scenario, seed=seed, faults=faults)


# --- worlds that are still, or do not end -----------------------------------------------------------------------------------------------


async def for_ever() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def swallow_all() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await trio.sleep(100)


async def swallow_all_in_a_shield() -> None:
    with trio.CancelScope(shield=True):
        await swallow_all()


async def shields_again() -> None:
    try:
        await for_ever()
    finally:
        await for_ever()


async def ticks() -> None:
    with trio.CancelScope(shield=True):
        while True:  # noqa: ASYNC110 - it waits for nothing
            await trio.sleep(1)


def stubborn(body: Callable[[], Awaitable[None]]) -> Queue:
    queue = Queue("stubborn")

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt == 1:
            await body()

    return queue


BODIES = [for_ever, swallow_all, swallow_all_in_a_shield, shields_again, ticks]


@pytest.mark.parametrize("faults", [Faults(), Faults(clock_step=0.01)], ids=lambda plan: str(plan.facts()))
@pytest.mark.parametrize("body", [*BODIES, trio.sleep_forever], ids=lambda body: body.__name__)
def test_a_scenario_that_nothing_moves_is_ended_whatever_it_does(body: Callable[[], Awaitable[None]], faults: Faults) -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[naps()]):
            await body()

    with pytest.raises((Deadlock, OutOfTime)) as caught:
        simulate(scenario, faults=faults, max_steps=10_000)
    if body in (for_ever, shields_again, trio.sleep_forever):
        assert caught.type is Deadlock
        assert "the scenario waits in" in str(caught.value)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_a_handler_that_a_crash_cannot_unwind_ends_with_its_world(body: Callable[[], Awaitable[None]]) -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[stubborn(body)]) as engine:
            handle = await engine.submit("work")
            await world.advance(seconds=5)
            await world.crash()
            assert (await handle.wait()).state == "succeeded"

    if body not in (swallow_all, swallow_all_in_a_shield):  # shields are all that stand in the way, and the process has been dead for long
        simulate(scenario, max_steps=10_000)
        return
    with pytest.raises(OutOfTime) as caught:
        simulate(scenario, max_steps=10_000)
    if body is swallow_all:
        assert any("test_stillness.py" in note and "swallow_all" in note for note in caught.value.__notes__)


def test_what_the_scenario_raised_comes_out_though_something_does_not_end() -> None:
    async def scenario(world: World) -> None:
        world.nursery.start_soon(swallow_all)
        await world.advance(seconds=1)
        raise LookupError("of the scenario")

    with pytest.raises(LookupError, match="of the scenario") as caught:
        simulate(scenario)
    assert any("do not end" in note for note in caught.value.__notes__)


def test_a_world_that_is_over_and_does_not_end_says_who_does_not() -> None:
    async def scenario(world: World) -> None:
        world.nursery.start_soon(swallow_all)
        await world.advance(seconds=1)

    with pytest.raises(OutOfTime, match="the world is over, but these tasks do not end.*\n.*swallow_all"):
        simulate(scenario)


def test_a_process_that_broke_worlds_off_can_end() -> None:
    """Python closes the coroutines that are left when it exits: one that swallows that would keep it."""
    program = (
        "import trio\nfrom journeyman.sim import simulate\nfrom tests.sim.test_stillness import swallow_all\n"
        "async def scenario(world):\n    world.nursery.start_soon(swallow_all)\n    await trio.sleep(1)\n"
        "try:\n    simulate(scenario)\nexcept AssertionError as error:\n    print(type(error).__name__)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "OutOfTime", "")

"""When nothing can move: a world that lives is not called still, one that is still is, and each ends in bounded time."""

from __future__ import annotations

import pytest
import trio

from journeyman import Queue, Retry
from journeyman.sim import Faults, World, simulate

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

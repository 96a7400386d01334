"""What is cancelled in the middle of the engine's own housekeeping leaves nothing half done."""

from __future__ import annotations

import pytest
import trio

from journeyman import Queue
from journeyman.sim import Faults, World, simulate

TASKS = 150


@pytest.mark.parametrize("patience", [0.001, 0.05, 0.11, 0.17, 0.23, 0.29, 0.35])
def test_a_prune_that_is_cancelled_does_not_stand_in_the_way_of_the_next(patience: float) -> None:
    queue = Queue("mail", concurrency=TASKS)

    @queue.handler
    async def send(n: int) -> int:
        return n

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            handles = await engine.submit_many([send.bind(n) for n in range(TASKS)])
            for handle in handles:
                await handle.wait()
            with trio.move_on_after(patience):
                await engine.prune(older_than=0)
            await engine.prune(older_than=0)
            assert await engine.count() == 0
            await engine.submit(send, 1)
            assert await engine.count() == 1

    simulate(scenario, seed=1, faults=Faults(disk_latency=(0.05, 0.05)))

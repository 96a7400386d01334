"""The engine's slots: whoever cannot use its turn passes it on.  Found by simulation (swarm seeds 1763, 1939, 2181)."""

from __future__ import annotations

import trio

from journeyman.actors.slots import Slots
from journeyman.engine import Queue, Rate
from journeyman.sim import World, simulate


class Lane:
    weight = 1

    def __init__(self) -> None:
        self.running = 0
        self.woken = 0

    def live(self) -> int:
        return self.running

    def wake(self) -> None:
        self.woken += 1


def test_a_claimant_that_declines_its_turn_wakes_the_next() -> None:
    busy, held_back, waiting = Lane(), Lane(), Lane()
    slots = Slots(1, lambda: [busy, held_back, waiting])
    busy.running = 1
    for lane in (held_back, waiting):
        assert slots.grant(lane) == 0
        slots.used(lane, 0, True)
    busy.running = 0
    slots.freed()
    assert (held_back.woken, waiting.woken) == (1, 0)
    assert slots.grant(held_back) == 1
    slots.used(held_back, 0, False)  # its rate holds it back after all
    assert waiting.woken == 1
    assert slots.grant(waiting) == 1


def test_a_queue_that_waits_for_its_rate_does_not_hold_up_the_others() -> None:
    slow, quick = Queue("slow", rate=Rate(1, per=3600), concurrency=5), Queue("quick", concurrency=5)

    @slow.handler(name="slow")
    async def slowly() -> None:
        await trio.sleep(1)

    @quick.handler(name="quick")
    async def quickly() -> None:
        await trio.sleep(1)

    async def scenario(world: World) -> None:
        async with world.engine([slow, quick], max_concurrency=1) as engine:
            await (await engine.submit(slowly)).wait()  # the token of this hour is spent
            first = await engine.submit(quickly)
            await engine.submit(slowly)
            last = await engine.submit(quickly)
            await first.wait()
            assert (await last.wait(timeout=10)).ended

    for seed in range(20):
        simulate(scenario, seed=seed)

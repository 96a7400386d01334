"""Rows 16 and 82 for `rate_per_key`: tokens for each key, released smoothly, in nobody else's way."""

from __future__ import annotations

from collections import defaultdict

import pytest
import trio

from journeyman.engine import Context, Engine, Queue, Rate
from journeyman.journal.memory_store import MemoryStore
from journeyman.sim import EngineCrashed, Faults, World, simulate
from tests.acceptance.virtual import TrioClock


def limited(**policy: object) -> tuple[Queue, dict[str, list[float]]]:
    """A queue with a rate per key, and when the handlers of each key were entered."""
    queue, entered = Queue("q", **policy), defaultdict[str, list[float]](list)  # type: ignore[arg-type]

    @queue.handler
    async def work(ctx: Context, key: str) -> None:
        entered[key].append(round(trio.current_time(), 3))

    return queue, entered


# row 16
async def test_row_16_each_key_has_its_own_rate(autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = limited(concurrency=4, rate_per_key=Rate(1, per=10.0))
    work = queue.handlers["work"]
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        await engine.submit_many([(work.using(key=key), (key,)) for _ in range(4) for key in "abc"])
        handle = (await engine.list(queue="q", limit=1))[0]
        await trio.sleep(1)
        assert (await engine.explain(handle.id)).reasons[0].kind in ("key busy", "key rate limited until")
        await engine.drain()
    for key in "abc":
        assert [at - begun for at in entered[key]] == pytest.approx([0, 10, 20, 30], abs=0.01)


# row 16
async def test_row_16_one_that_waits_for_its_key_blocks_nobody(autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = limited(concurrency=1, rate_per_key=Rate(1, per=3600.0))
    work = queue.handlers["work"]
    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        await engine.submit_many([(work.using(key="hot", priority=20), ("hot",))] * 50)
        await engine.submit_many([(work.using(key=f"k{n}"), (f"k{n}",)) for n in range(50)] + [(work, ("none",))] * 3)
        await trio.sleep(1)
    assert {key: len(times) for key, times in entered.items()} == {"hot": 1, "none": 3, **{f"k{n}": 1 for n in range(50)}}


# row 16
async def test_row_16_a_burst_of_a_key(autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = limited(concurrency=10, per_key=10, rate_per_key=Rate(1, per=5.0, burst=3))
    work = queue.handlers["work"]
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        await engine.submit_many([(work.using(key="a"), ("a",))] * 5)
        await engine.drain()
    assert [at - begun for at in entered["a"]] == pytest.approx([0, 0, 0, 5, 10], abs=0.01)


# row 82
async def test_row_82_a_restart_gives_no_key_a_free_start(autojump_clock: trio.testing.MockClock) -> None:
    queue, entered = limited(concurrency=4, rate_per_key=Rate(1, per=30.0))
    work, store = queue.handlers["work"], MemoryStore()
    async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
        await engine.submit_many([(work.using(key=key), (key,)) for _ in range(3) for key in "ab"])
        await trio.sleep(1)
    for _ in range(8):
        async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
            await trio.sleep(3)
    async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
        await engine.drain()
    for times in entered.values():
        assert [later - times[0] for later in times] == pytest.approx([0, 30, 60], abs=0.01)


# row 82
@pytest.mark.parametrize("seed", range(6))
def test_row_82_key_rates_survive_crashes(seed: int) -> None:
    """The invariants of every world watch the starts of each key."""
    queue, _ = limited(concurrency=3, rate_per_key=Rate(1, per=7.0, burst=2), fair_by="key")
    work = queue.handlers["work"]

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.submit_many([(work.using(key="abcde"[n % 5], cost=1 + n % 2), ("x",)) for n in range(30)])
            await trio.sleep(20)
            await world.crash()
            while True:
                try:
                    await engine.ready()
                    await engine.drain(timeout=100_000)
                    break
                except EngineCrashed:
                    continue

    simulate(scenario, seed=seed, faults=Faults(crash=0.002, restart=3.0), converge=True)

"""tingly-box's task package: serialization keys."""

from __future__ import annotations

import pytest
import trio

from journeyman import Constant, Context, Queue, Retry
from journeyman.sim import Faults, World, simulate
from tests.parity.virtual import simulated


class Track:
    """What ran when, and that no key ever ran twice at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.inside: dict[str, int] = {}
        self.starts: list[tuple[str, float]] = []
        self.most: dict[str, int] = {}

    async def run(self, name: str, key: str, seconds: float) -> None:
        self.starts.append((name, round(self._world.time(), 3)))
        self.inside[key] = self.inside.get(key, 0) + 1
        self.most[key] = max(self.most.get(key, 0), self.inside[key])
        try:
            await trio.sleep(seconds)
        finally:
            self.inside[key] -= 1

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.starts]


@simulated
async def test_b_one_at_a_time(world: World) -> None:
    """B, SerializationKey: at most one running task of a key, the others in the order they came; tasks without a key know no limit.

    Same: using(key=...); across the handlers of a queue.
    """
    queue, track = Queue("q", concurrency=10), Track(world)

    @queue.handler
    async def work(name: str, key: str) -> None:
        await track.run(name, key, 10)

    async with world.engine(queues=[queue]) as engine:
        for n in range(3):
            await engine.submit_many([work.using(key=key).bind(f"{key}{n}", key) for key in "ab"])
            await engine.submit(work, f"free{n}", "")
        await engine.drain()
        assert world.time() == 30
    assert (track.most["a"], track.most["b"], track.most[""]) == (1, 1, 3)
    for key in "ab":
        assert [(name, at) for name, at in track.starts if name.startswith(key)] == [(f"{key}{n}", 10 * n) for n in range(3)]


@simulated
async def test_b_what_waits_for_its_key(world: World) -> None:
    """B, SerializationKey: a task whose key is busy is `queued`, a state of its own.

    Better: it is pending, takes no slot, says "key busy", and is cancelled like any other.
    """
    queue, ran = Queue("q", concurrency=3), []

    @queue.handler
    async def work(name: str) -> None:
        ran.append(name)
        await trio.sleep(10)

    async with world.engine(queues=[queue]) as engine:
        first, second, third = await engine.submit_many([work.using(key="k").bind(name) for name in ("first", "second", "third")])
        free = await engine.submit(work, "free")
        await world.advance(seconds=1)
        assert ran == ["first", "free"], "what waits for its key is in nobody's way"
        assert (await engine.get(second.id)).state == "pending"
        assert [reason.kind for reason in (await engine.explain(second.id)).reasons] == ["key busy"]
        await second.cancel("not needed")
        await engine.drain()
        assert ran == ["first", "free", "third"]
        assert [task.id for task in await engine.list(key="k")] == [third.id, second.id, first.id]
        assert (await free.wait()).key is None


@pytest.mark.parametrize("ends", ["succeeded", "failed", "cancelled"])
@simulated
async def test_b_handing_over(world: World, ends: str) -> None:
    """B, SerializationKey: however the holder of a key ends, the next one starts at once, without a tick.

    Same: in the same commit.
    """
    queue, starts = Queue("q", concurrency=3), []

    @queue.handler
    async def work(n: int) -> None:
        starts.append((n, world.time()))
        await trio.sleep(7.5)
        if ends == "failed":
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        first, *_ = await engine.submit_many([work.using(key="k").bind(n) for n in range(3)])
        await world.advance(seconds=2.5)
        if ends == "cancelled":
            await first.cancel()
            await first.wait()
        await engine.drain()
    assert starts == ([(0, 0), (1, 2.5), (2, 10)] if ends == "cancelled" else [(0, 0), (1, 7.5), (2, 15)])


@pytest.mark.parametrize("order", ["strict", "relaxed"])
@simulated
async def test_b_a_retry_and_those_behind_it(world: World, order: str) -> None:
    """B, SerializationKey: a task that waits for a retry gives its key back, and later ones of the key overtake it.

    Different: it keeps its place, so that the order of a key is the order of its work; key_order="relaxed" is B's way.
    """
    queue, track = Queue("q", concurrency=3, key_order=order, retry=Retry(attempts=2, backoff=Constant(60), jitter=0)), Track(world)

    @queue.handler
    async def work(ctx: Context, name: str) -> None:
        await track.run(name, "k", 1)
        if name == "fails once" and ctx.attempt == 1:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.using(key="k").bind(name) for name in ("fails once", "second", "third")])
        await engine.drain()
    assert track.most["k"] == 1
    if order == "strict":
        assert track.order == ["fails once", "fails once", "second", "third"]
    else:
        assert track.order == ["fails once", "second", "third", "fails once"]


def test_b_the_order_of_a_key_is_strict() -> None:
    """B, SerializationKey: between the end of a holder and the hand-over a tick may start a newer task of the key, and the oldest goes to
    the end of the line.

    Mended: whatever the interleaving, a key's tasks run in the order in which they were submitted.
    """

    async def scenario(world: World) -> None:
        queue, order = Queue("q", concurrency=4), {"a": list[int](), "b": list[int]()}

        @queue.handler
        async def work(key: str, n: int) -> None:
            order[key].append(n)
            await trio.sleep(world.random.uniform(0, 0.05))

        async with world.engine(queues=[queue]) as engine:

            async def produce(key: str) -> None:
                for n in range(20):
                    await engine.submit(work.using(key=key), key, n)
                    await trio.sleep(world.random.uniform(0, 0.05))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(produce, "a")
                nursery.start_soon(produce, "b")
            await engine.drain()
        assert order == {"a": list(range(20)), "b": list(range(20))}

    for seed in range(20):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.02)))


@simulated
async def test_b_a_stop_starts_nobody(world: World) -> None:
    """B, SerializationKey: after Stop, a holder that finishes still starts the next task of its key.

    Mended: after stop nothing starts; the next of the key waits for the next opening.
    """
    queue, starts = Queue("q"), []

    @queue.handler
    async def work(n: int) -> None:
        starts.append((n, world.time()))
        await trio.sleep(10)

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.using(key="k").bind(n) for n in range(3)])
        await world.advance(seconds=1)
        assert await engine.stop(grace=60)
        await world.advance(minutes=10)
        assert starts == [(0, 0)]
    async with world.engine(queues=[queue]) as engine:
        await engine.drain()
    assert starts == [(0, 0), (1, 610), (2, 620)]


@simulated
async def test_b_keys_across_a_crash(world: World) -> None:
    """B, restart: the line of a key is in memory; after a restart its tasks are pending again, and go by their creation.

    Better: the key and its order are in the journal: what ran goes first, then the rest in its order.
    """
    queue, starts = Queue("q", concurrency=5), []

    @queue.handler
    async def work(n: int) -> None:
        starts.append(n)
        await trio.sleep(10)

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([work.using(key="k").bind(n) for n in range(4)])
        for _ in range(3):
            await world.advance(seconds=5)
            await world.crash()
            await engine.ready()
        for handle in handles:
            await handle.wait()
    assert starts == [0, 0, 0, 0, 1, 2, 3]


@simulated
async def test_b_more_than_one_of_a_key(world: World) -> None:
    """B, SerializationKey: one at a time is all there is.

    Better: per_key= says how many.
    """
    queue, track = Queue("q", concurrency=10, per_key=3), Track(world)

    @queue.handler
    async def work(n: int) -> None:
        await track.run(str(n), "k", 5)

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.using(key="k").bind(n) for n in range(9)])
        await engine.drain()
        assert (track.most["k"], world.time()) == (3, 15)

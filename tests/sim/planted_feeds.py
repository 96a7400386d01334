"""Bugs planted into the feed (tests/sim/planted.py)."""

from __future__ import annotations

import trio

from journeyman import FeedTruncated, Queue, Retention
from journeyman.engine import feed as engine_feed
from journeyman.journal import feed as journal_feed
from journeyman.kernel import queue_fold
from journeyman.sim import EngineCrashed, Faults, World, simulate
from tests.sim.bug import Bug


def followed(seed: int) -> None:
    """Readers, quick and slow, behind a queue that is pruned, over crashes."""
    queues = [Queue(name, concurrency=3, retention=Retention(succeeded=30.0)) for name in ("one", "other")]
    for each in queues:

        @each.handler(name=each.name)
        async def work() -> None:
            await trio.sleep(1)

    async def scenario(world: World) -> None:
        async with world.engine(queues=queues) as engine, trio.open_nursery() as nursery:

            async def follow(pace: float, queue: str | None) -> None:
                cursor = engine.events(queue=queue).cursor
                while True:
                    try:
                        async for event in engine.events(cursor, queue):
                            cursor = event.cursor
                            await trio.sleep(pace)
                    except EngineCrashed:
                        await engine.ready()
                    except FeedTruncated as error:
                        cursor = error.cursor

            for pace, queue in ((0, None), (0, "one"), (9, None), (9, "other")):
                nursery.start_soon(follow, pace, queue)
            for _ in range(300):
                try:
                    await engine.submit("one")
                    await engine.submit("other")
                except EngineCrashed:
                    await engine.ready()
                await trio.sleep(5)
            nursery.cancel_scope.cancel()

    simulate(scenario, seed=seed, faults=Faults(crash=0.0005, disk_latency=(0.0001, 0.1)))


FEEDS = (
    Bug("a hole in the feed is passed over", ((journal_feed.read_on, "if newest > max(at, known):", "if False:"),), seed=0, run=followed),
    Bug(
        "a feed passes over the last of a page",
        (
            (
                journal_feed.read_on,
                "return Stretch(found, through, None)",
                "return Stretch(found[:-1] if len(found) > 3 else found, through, None)",
            ),
        ),
        seed=0,
        run=followed,
    ),
    Bug(
        "a feed repeats an event",
        ((engine_feed.EventFeed._more, "read_on(shell.store, self._at,", "read_on(shell.store, max(0, self._at - 1),"),),
        seed=0,
        run=followed,
    ),
    Bug("a queue's feed shows another's", ((engine_feed.EventFeed._wants, "self.shows(event.queue)", "True"),), seed=0, run=followed),
    Bug("prune does not say what is gone", ((queue_fold.pruned, "state.gone_seq = max(", "_ = max("),), seed=0, run=followed),
)

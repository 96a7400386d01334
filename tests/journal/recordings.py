"""Days of a queue in a simulated world, as events: what `whatif` is given, where time is exact."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import trio

from journeyman.engine import Context, Queue
from journeyman.journal.log import Journal
from journeyman.journal.record import Ignored
from journeyman.journal.whatif import Comparison, Hearing, Variant, compare, settings
from journeyman.journal.whatif.recording import Recording
from journeyman.kernel.events import Event
from journeyman.sim import Faults, World, simulate
from journeyman.sim.engine import SimEngine

Events = list[tuple[int, Event]]
Day = Callable[[World, "Queue", SimEngine], Awaitable[None]]
LAGS = Faults(disk_latency=(0.001, 0.01))


def mail(**policy: Any) -> Queue:
    """`send(seconds, failures)` takes so long, and fails so many times."""
    queue = Queue("mail", **policy)

    @queue.handler
    async def send(ctx: Context, seconds: float, failures: int = 0) -> None:
        await trio.sleep(seconds)
        if ctx.attempt <= failures:
            raise ValueError("not yet")

    return queue


def recorded(queue: Queue, day: Day, *, faults: Faults = LAGS, others: tuple[Queue, ...] = (), seed: int = 1, **options: Any) -> Events:
    """The journal of a world in which `day` happened to an engine with these queues."""
    found: Events = []

    async def scenario(world: World) -> None:
        engine = world.engine(queues=[queue, *others], **options)
        async with engine:
            await day(world, queue, engine)
        found.extend(events_of(engine))

    simulate(scenario, seed=seed, faults=faults, converge=False)
    return found


def events_of(engine: SimEngine) -> Events:
    """Everything in its journal."""
    chunks = Journal(engine.machine.disk).walk(1, (1 << 64) - 2)
    return [(seq, event) for chunk in chunks for seq, event in chunk if not isinstance(event, Ignored)]


def steady(
    tasks: int, per_second: float, *, seconds: tuple[float, float] = (0.05, 0.3), failures: Callable[[int], int] = lambda n: 0,
    using: Callable[[int], dict[str, Any]] = lambda n: {},
) -> Day:  # fmt: skip
    """So many tasks, at random distances; then until all are done."""

    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        chance = Random(7)
        send = queue.handlers["send"]
        for n in range(tasks):
            own = using(n)
            await engine.submit(send.using(**own) if own else send, chance.uniform(*seconds), failures(n))
            await trio.sleep(chance.expovariate(per_second))
        await engine.drain()

    return day


def heard(events: Events) -> Recording:
    """What is played of queue mail."""
    hearing = Hearing("mail")
    for seq, event in events:
        hearing.hear(seq, event)
    return hearing.finish()[0]


def tried(events: Events, *texts: str) -> Comparison:
    """Queue mail under its own policy, and under each of these."""
    return compare(events, "mail", [Variant(text, settings([text])) for text in texts])

"""tingly-box's task package: registering handlers, submitting, what is due and in which order, how many at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from journeyman import Engine, HandlerExists, HandlerNotFound, PayloadTooLarge, Queue, QueueFull
from journeyman.sim import World
from tests.parity.virtual import simulated


async def test_b_a_handler_type_is_registered_once() -> None:
    """B, Register: a second handler of the same type is refused.

    Same: in a queue at once, in an engine when it is entered.
    """
    queue, other = Queue("q"), Queue("other")

    @queue.handler
    async def work() -> None: ...

    with pytest.raises(HandlerExists, match="'work'"):
        queue.handler(name="work")(work.function if hasattr(work, "function") else work)
    other.handler(name="work")(lambda: None)
    with pytest.raises(HandlerExists, match="'work'"):
        async with Engine(None, [queue, other]):
            pass


@simulated
async def test_b_handlers_that_come_later(world: World) -> None:
    """B, Register: allowed before the start, and in fact after it.

    Different: a queue is read when an engine is entered; what comes later comes as a queue: create_queue.
    """
    queue, late = Queue("q"), Queue("late")

    async def work() -> str:
        return "late"

    async with world.engine(queues=[queue]) as engine:
        with pytest.raises(RuntimeError, match="before the engine is entered"):
            queue.handler(work)
        late.handler(work)
        await engine.create_queue(late)
        assert await (await engine.submit("work")).result() == "late"


async def test_b_a_task_of_no_type() -> None:
    """B, Submit: an empty type is an error; that no handler of the type exists is found out later, and fails the task.

    Better: both are errors of the submit; a task for another release is submitted by its queue and name on purpose.
    """
    async with Engine(None, [Queue("q")]) as engine:
        for name in ("", "nobody"):
            with pytest.raises(HandlerNotFound):
                await engine.submit(name)
        handle = await engine.submit(engine.handler("nobody", "q"))
        assert (await engine.get(handle.id)).state == "pending"


@simulated
async def test_b_a_payload_of_any_size(world: World) -> None:
    """B, Submit: no limit on the payload; what is too much for the store is found out there.

    Mended: 1 MiB unless told otherwise, refused at the submit with both sizes.
    """
    queue, large = Queue("q"), Queue("large", max_payload=8 << 20)

    async def work(data: bytes) -> int:
        return len(data)

    queue.handler(name="work")(work)
    large.handler(name="more")(work)
    async with world.engine(queues=[queue, large]) as engine:
        with pytest.raises(PayloadTooLarge):
            await engine.submit("work", bytes(2 << 20))
        assert await (await engine.submit("more", bytes(2 << 20))).result() == 2 << 20


@simulated
async def test_b_submitted_is_stored(world: World) -> None:
    """B, Submit: the task is stored before the call returns.

    Same: a crash right after it loses nothing.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")
        handles = []
        for _ in range(10):
            handles.append(await engine.submit(work))
            await world.crash(power=True)
            await engine.ready()
        assert await engine.count("q", "pending") == 10
        await engine.resume("q")
        assert {(await handle.wait()).state for handle in handles} == {"succeeded"}


@simulated
async def test_b_a_submit_wakes_the_queue(world: World) -> None:
    """B, Submit: nobody is woken, so that a task waits for the next tick, up to five seconds.

    Mended: it starts in the instant it is durable.
    """
    queue, late = Queue("q", concurrency=9), []

    @queue.handler
    async def work(at: float) -> None:
        late.append(world.time() - at)

    async with world.engine(queues=[queue]) as engine:
        for _ in range(20):
            await world.advance(seconds=world.random.uniform(0, 7))
            await engine.submit(work, world.time())
        await engine.drain()
    assert late == [0] * 20


@simulated
async def test_b_scheduled_at(world: World) -> None:
    """B, due rule: a task is due at its scheduled_at, or at once without one; one in the past means at once.

    Same: at= an aware datetime, or delay= seconds.
    """
    queue, ran = Queue("q", concurrency=9), []

    @queue.handler
    async def work(name: str) -> None:
        ran.append((name, round(world.time(), 3)))

    async with world.engine(queues=[queue]) as engine:
        now = world.now()
        await engine.submit(work.using(at=now + timedelta(minutes=2)), "at")
        await engine.submit(work.using(delay=30), "delay")
        await engine.submit(work.using(at=now - timedelta(days=400)), "past")
        await engine.submit(work, "now")
        with pytest.raises(ValueError, match="aware"):
            work.using(at=now.replace(tzinfo=None))
        await world.advance(minutes=5)
    assert sorted(ran[:2]) == [("now", 0), ("past", 0)]
    assert ran[2:] == [("delay", 30), ("at", 120)]


@simulated
async def test_b_the_order(world: World) -> None:
    """B, due rule: what is due goes by its creation, fifty at each tick.

    Different: by due instant, then submission; a task that was put off does not overtake those that are due since.
    """
    queue, order = Queue("q"), []

    @queue.handler
    async def work(n: int) -> None:
        order.append(n)
        await trio.sleep(0.001)

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")
        await engine.submit(work.using(delay=10), 200)
        await engine.submit_many([work.bind(n) for n in range(200)])
        await world.advance(seconds=20)
        await engine.resume("q")
        await engine.drain()
        assert world.time() == pytest.approx(20.2, abs=0.05), "no tick of fifty"
    assert order == list(range(201))


@simulated
async def test_b_how_many_at_once(world: World) -> None:
    """B, concurrency: without a bound: one goroutine for each task that is due.

    Mended: every queue has a bound, 1 unless told otherwise, the engine may have one over all, and max_pending refuses what is too much.
    """
    queue, other, inside, most = Queue("q", concurrency=40, max_pending=500), Queue("other", concurrency=40), 0, 0

    async def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await trio.sleep(1)
        inside -= 1

    queue.handler(name="work")(work)
    other.handler(name="more")(work)
    async with world.engine(queues=[queue, other], max_concurrency=50) as engine:
        await engine.submit_many([("work", (), {})] * 500)
        await engine.submit_many([("more", (), {})] * 100)
        with pytest.raises(QueueFull):
            await engine.submit_many([("work", (), {})] * 200)
        await engine.drain()
        assert (most, await engine.count()) == (50, 600)

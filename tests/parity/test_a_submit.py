"""Navidrome's plugin TaskQueue: putting tasks in, and looking at them."""

from __future__ import annotations

import uuid

import pytest
import trio

from journeyman import (
    Constant,
    Context,
    Engine,
    HandlerNotFound,
    PayloadTooLarge,
    Priority,
    Queue,
    QueueFull,
    QueueNotFound,
    Retry,
    TaskNotFound,
)  # fmt: skip
from journeyman.sim import World
from tests.parity.virtual import simulated

MIB = 1_048_576
FRAME = 8  # what the encoding of one call adds to its bytes, at the most


async def test_a_an_unknown_queue_is_told_before_the_size() -> None:
    """A, Enqueue: a task for a queue that does not exist is refused, before its size is looked at.

    Same: QueueNotFound for a queue, HandlerNotFound for a handler.
    """
    async with Engine(None, [Queue("q")]) as engine:
        with pytest.raises(QueueNotFound, match="'nowhere'"):
            await engine.submit(engine.handler("work", "nowhere"), b"x" * (2 * MIB))
        with pytest.raises(HandlerNotFound, match="'nobody'"):
            await engine.submit("nobody", b"x" * (2 * MIB))


async def test_a_one_mebibyte_is_the_limit() -> None:
    """A, Enqueue: a payload of 1 MiB is accepted, one byte more is refused with both sizes, and nothing is stored.

    Better: the same limit, and each queue may set its own.
    """
    queue, small = Queue("q"), Queue("small", max_payload=100)

    @queue.handler
    async def work(data: bytes) -> int:
        return len(data)

    @small.handler
    async def little(data: bytes) -> int:
        return len(data)

    async with Engine(None, [queue, small]) as engine:
        with pytest.raises(PayloadTooLarge) as refused:
            await engine.submit(work, bytes(MIB))
        over = refused.value.size - MIB  # what the encoding adds
        assert (0 < over <= FRAME, refused.value.limit) == (True, MIB)
        assert all(f"{n:,}" in str(refused.value) for n in (refused.value.size, MIB))
        assert await engine.count() == 0
        assert await (await engine.submit(work, bytes(MIB - over))).result() == MIB - over
        with pytest.raises(PayloadTooLarge):
            await engine.submit(work, bytes(MIB - over + 1))
        with pytest.raises(PayloadTooLarge):
            await engine.submit(little, bytes(101))
        assert await engine.count() == 1


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(range(256)), b"\xff\xfe not text"])
async def test_a_any_bytes(data: bytes) -> None:
    """A, Enqueue: a payload is any bytes, empty ones included.

    Same: and any other value with an encoding, by the handler's annotations.
    """
    queue = Queue("q")

    @queue.handler
    async def work(data: bytes) -> bytes:
        return data

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work, data)
        assert await handle.result() == data
        assert (await engine.get(handle.id)).payload == ([data], {})


async def test_a_no_payload_at_all() -> None:
    """A, Enqueue: a payload that is nil fails with an error of the database.

    Mended: a call without arguments is a call like any other, and so is None where the annotation allows it.
    """
    queue = Queue("q")

    @queue.handler
    async def nothing() -> str:
        return "nothing"

    @queue.handler
    async def maybe(data: bytes | None) -> bytes | None:
        return data

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(nothing)).result() == "nothing"
        assert await (await engine.submit(maybe, None)).result() is None


async def test_a_ids_are_ordered_in_time() -> None:
    """A, Enqueue: the id is random, of 128 bits, and says nothing about order.

    Better: 128 bits that sort as the tasks were submitted; the caller may choose one, which makes the submit safe to repeat.
    """
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        ids = [(await engine.submit(work, n)).id for n in range(50)]
        assert ids == sorted(ids)
        assert {uuid.UUID(id).version for id in ids} == {7}
        mine = str(uuid.uuid4())
        again = [await engine.submit(work.using(id=mine), 7) for _ in range(3)]
        assert {handle.id for handle in again} == {mine}
        assert await engine.count() == 51


@simulated
async def test_a_retries_are_the_queues_or_the_tasks_own(world: World) -> None:
    """A, Enqueue: the number of retries is copied to the task when it is put in; the backoff is the queue's of today.

    Different: both are the queue's of today, and a task that was given attempts= of its own keeps them.
    """

    async def fail() -> None:
        raise ValueError

    queues = [Queue("q", retry=Retry(attempts=1, backoff=Constant(5))), Queue("q", retry=Retry(attempts=3, backoff=Constant(60), jitter=0))]
    for queue in queues:
        queue.handler(fail)
    async with world.engine(queues=[queues[0]]) as engine:
        await engine.pause("q")
        plain = await engine.submit("fail")
        own = await engine.submit(engine.handler("fail", "q").using(attempts=2))
    async with world.engine(queues=[queues[1]]) as engine:
        await engine.resume("q")
        await engine.drain()
        (await world.history(plain)).assert_ran(3, apart=60, tolerance=0).then_dead_lettered()
        (await world.history(own)).assert_ran(2, apart=60, tolerance=0).then_dead_lettered()


@simulated
async def test_a_what_enqueue_cannot_say(world: World) -> None:
    """A, Enqueue: there is no delay, no instant, no priority, no bulk.

    Better: all four, and a bound on how many may wait.
    """
    queue, order = Queue("q", max_pending=4), []

    @queue.handler
    async def work(name: str) -> None:
        order.append((name, round(world.time())))
        await trio.sleep(1)

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([
            work.bind("first"), work.using(delay=10).bind("in ten seconds"),
            work.using(at=world.now().replace(minute=30)).bind("at half past"), work.using(priority=Priority.HIGH).bind("high"),
        ])  # fmt: skip
        with pytest.raises(QueueFull):
            await engine.submit_many([work.bind("fourth"), work.bind("fifth")])
        await world.advance(hours=1)
    assert order == [("high", 0), ("first", 1), ("in ten seconds", 10), ("at half past", 1800)]


@simulated
async def test_a_what_get_shows(world: World) -> None:
    """A, Get: status, message and attempt, which is 0 before the first run; an unknown id is an error; neither payload nor times.

    Better: these, the arguments, every instant, both budgets and the last error.
    """
    queue = Queue("q", retry=Retry(attempts=2))

    @queue.handler
    async def work(ctx: Context, name: str) -> str:
        await ctx.progress(0.5, f"half of {name}")
        await trio.sleep(10)
        return f"all of {name}"

    async with world.engine(queues=[queue]) as engine:
        before = world.now()
        handle = await engine.submit(work.using(delay=60), "it")
        task = await engine.get(handle.id)
        assert (task.state, task.message, task.attempt, task.max_attempts) == ("scheduled", None, 0, 2)
        assert (task.payload, task.submitted_at, (task.due_at - before).total_seconds()) == ((["it"], {}), before, 60)
        await world.advance(seconds=65)
        task = await engine.get(handle.id)
        assert (task.state, task.message, task.progress, task.attempt) == ("running", "half of it", 0.5, 1)
        task = await handle.wait()
        assert (task.state, task.message, task.result) == ("succeeded", "half of it", "all of it")
        assert task.started_at is not None
        assert task.finished_at is not None
        assert (task.finished_at - task.started_at).total_seconds() == 10
        for unknown in (str(uuid.uuid4()), "", "no id at all"):
            with pytest.raises(TaskNotFound):
                await engine.get(unknown)


@simulated
async def test_a_looking_at_many(world: World) -> None:
    """A, Get: there is no list and there are no figures, so that plugins keep counters of their own.

    Better: list, count and stats, by queue, state, handler and labels.
    """
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> None:
        await trio.sleep(100)

    async with world.engine(queues=[queue]) as engine:
        ids = [(await engine.submit(work.using(owner=("library", str(n % 2))), n)).id for n in range(5)]
        await world.advance(seconds=30)
        assert [task.id for task in await engine.list()] == ids[::-1]
        assert [task.id for task in await engine.list(state="running")] == ids[:1]
        assert await engine.count("q", "pending") == 4
        assert await engine.count(owner=("library", "1")) == 2
        stats = (await engine.stats())["q"]
        assert (stats.counts["running"], stats.counts["pending"], stats.oldest_pending) == (1, 4, 30)
        await engine.drain()

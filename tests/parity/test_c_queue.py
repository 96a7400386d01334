"""zapfs's taskqueue: putting in, taking out, priorities, and the end of a task."""

from __future__ import annotations

import uuid

import pytest
import trio

from journeyman import (
    Constant,
    Context,
    DuplicateTask,
    Engine,
    EngineStopped,
    Exponential,
    NotCancellable,
    Priority,
    Queue,
    QueueFull,
    Retry,
    TaskNotFound,
)  # fmt: skip
from journeyman.sim import World
from tests.parity.virtual import simulated


@simulated
async def test_c_what_is_filled_in(world: World) -> None:
    """C, Enqueue: id, status, scheduled_at and created_at are filled in; the priority is Low unless set, the retries 0.

    Different: the priority is NORMAL (5) unless set, so that there is something below; one run, as there.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")
        task = await engine.get((await engine.submit(work)).id)
        assert uuid.UUID(task.id).version == 7
        assert (task.state, task.due_at, task.submitted_at) == ("pending", world.now(), world.now())
        assert (task.priority, task.max_attempts) == (Priority.NORMAL, 1)
        assert [int(one) for one in Priority] == [0, 5, 10, 20]


async def test_c_an_id_of_the_callers() -> None:
    """C, Enqueue: the caller's id is kept; one that is taken is an error of the database, or overwrites the task in the memory queue.

    Mended: the same id with the same call is the same task; with another call it is DuplicateTask; nothing is overwritten, on any store.
    """
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> None: ...

    async with Engine(None, [queue]) as engine:
        id = str(uuid.uuid4())
        assert (await engine.submit(work.using(id=id), 1)).id == id
        await engine.submit(work.using(id=id), 1)
        with pytest.raises(DuplicateTask, match=id):
            await engine.submit(work.using(id=id), 2)
        assert (await engine.get(id)).payload == ([1], {})
        assert await engine.count() == 1


async def test_c_a_closed_queue() -> None:
    """C, Enqueue: the memory queue refuses when it is closed; the database queue's Close does nothing.

    Mended: EngineStopped, on every store.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue]) as engine:
        await engine.stop()
        with pytest.raises(EngineStopped):
            await engine.submit(work)


@simulated
async def test_c_the_order(world: World) -> None:
    """C, Dequeue: the highest priority first, then the earliest scheduled_at; nothing before its time.

    Same: with submission as the last word, so that there is never a tie.
    """
    queue, order = Queue("q"), []

    @queue.handler
    async def work(name: str) -> None:
        order.append(name)

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")
        calls = {"low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH, "urgent": Priority.URGENT, "odd": 7, "below": -3}
        for name, priority in calls.items():
            await engine.submit(work.using(priority=priority), name)
        await engine.submit(work.using(priority=Priority.HIGH, delay=1), "high, later")
        await engine.submit(work.using(priority=Priority.HIGH), "high, second")
        await engine.submit(work.using(priority=Priority.URGENT, delay=60), "not due")
        await world.advance(seconds=2)
        await engine.resume("q")
        await engine.drain()
        assert order == ["urgent", "high", "high, second", "high, later", "odd", "normal", "low", "below"]


@simulated
async def test_c_low_priorities_need_not_starve(world: World) -> None:
    """C, Dequeue: the highest priority first, always, so that under load the lowest never runs.

    Better: strict by default too; aging=seconds lets waiting outweigh priority: after so many seconds for each step, its turn comes.
    """
    order: dict[str, list[str]] = {"strict": [], "aging": []}
    strict, aging = Queue("strict"), Queue("aging", aging=1)

    for queue in (strict, aging):

        async def work(name: str, queue: str = queue.name) -> None:
            order[queue].append(name)
            await trio.sleep(1)

        queue.handler(name=queue.name, ctx=False)(work)

    async with world.engine(queues=[strict, aging]) as engine:
        for name in ("strict", "aging"):
            await engine.submit(engine.handler(name, name).using(priority=Priority.URGENT), "the first")
            await engine.submit(engine.handler(name, name).using(priority=Priority.LOW), "low")
        for _ in range(60):
            for name in ("strict", "aging"):
                await engine.submit(engine.handler(name, name).using(priority=Priority.URGENT), "urgent")
            await world.advance(seconds=0.75)
        assert "low" not in order["strict"]
        assert "low" in order["aging"][:40]
        await engine.drain()
    assert order["strict"][-1] == "low"


@simulated
async def test_c_by_type(world: World) -> None:
    """C, Dequeue: a worker takes tasks of the types it names, any if it names none; nothing to take is no error.

    Same: a process runs what it has handlers for; the rest is parked and in nobody's way.
    """
    queue = Queue("q")

    @queue.handler
    async def known() -> str:
        return "ran"

    async with world.engine(queues=[queue]) as engine:
        unknown = await engine.submit(engine.handler("unknown", "q").using(priority=Priority.URGENT))
        assert await (await engine.submit(known)).result() == "ran"
        assert (await engine.get(unknown.id)).state == "pending"


@simulated
async def test_c_how_attempts_count(world: World) -> None:
    """C, attempts: taking a task does not count, failing does, and so does being taken again when the lease has run out.

    Better: failures and crashes count apart, each against its own budget, and attempt numbers the runs.
    """
    queue = Queue("q", retry=Retry(attempts=3, backoff=Constant(1)))

    @queue.handler
    async def work(ctx: Context) -> str:
        task = await ctx.engine.get(ctx.id)
        assert task.attempt == task.failures + task.crashes + 1
        if ctx.attempt in (1, 3):
            raise ValueError
        await trio.sleep(10)
        return "done"

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=5)
        await world.crash()
        task = await handle.wait()
        assert (task.state, task.attempt, task.failures, task.crashes) == ("succeeded", 4, 2, 1)


async def test_c_unknown_ids() -> None:
    """C, Complete: an unknown id is not found; likewise for Fail and Cancel.

    Same.
    """
    async with Engine(None, [Queue("q")]) as engine:
        for call in (engine.get, engine.cancel, engine.retry, engine.history, engine.explain):
            with pytest.raises(TaskNotFound):
                await call(str(uuid.uuid4()))


@pytest.mark.parametrize("retries", [1, 2, 5])
@simulated
async def test_c_dead_letters(world: World, retries: int) -> None:
    """C, Fail: after MaxRetries runs in all the task is a dead letter (0 and 1 are both one run); before that it is pending again.

    Same: failed is the dead letter; it keeps its error, and retry gives it a fresh budget.
    """
    queue, mended = Queue("q", retry=Retry(attempts=retries, backoff=Constant(1))), False

    @queue.handler
    async def work(n: int) -> str:
        if not mended:
            raise ConnectionError("no")
        return "yes"

    async with world.engine(queues=[queue]) as engine:
        handles = await engine.submit_many([work.bind(n) for n in range(3)])
        await engine.drain()
        assert [(await engine.get(handle.id)).failures for handle in handles] == [retries] * 3
        mended = True
        await engine.retry(handles[0].id)
        assert await handles[0].result() == "yes"
        assert (await engine.get(handles[0].id)).failures == 0
        assert await engine.retry_all("q") == 2
        await engine.drain()
        assert await engine.count("q", "succeeded") == 3


@simulated
async def test_c_the_pauses(world: World) -> None:
    """C, Fail: 2, 4, 8, 16 ... seconds, without a cap; from the 34th attempt it overflows, and the retry follows at once.

    Mended: Exponential(2) with jitter=0 gives these, and is capped: at an hour unless told otherwise, for any number of attempts.
    """
    queue = Queue("q", retry=Retry(attempts=70, backoff=Exponential(2), jitter=0))

    @queue.handler
    async def work() -> None:
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await handle.wait()
        (await world.history(handle)).assert_ran(70, apart=[min(2.0**n, 3600) for n in range(1, 70)], tolerance=0)


@simulated
async def test_c_cancel_and_what_the_handler_says_then(world: World) -> None:
    """C, Cancel: any state is overwritten, the handler is not told, and its later word overwrites "cancelled", or even runs it again.

    Mended: a running handler is told; having been told, its failure is no retry; what has ended cannot be cancelled.
    """
    queue, runs = Queue("q", retry=Retry(attempts=5, backoff=Constant(0))), []

    @queue.handler
    async def work() -> None:
        runs.append(world.time())
        try:
            await trio.sleep(100)
        except trio.Cancelled:
            raise ConnectionError("cut off") from None

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(seconds=1)
        await handle.cancel("enough")
        task = await handle.wait()
        assert (task.state, len(runs)) == ("cancelled", 1)
        assert task.finished_at is not None
        with pytest.raises(NotCancellable):
            await handle.cancel("again")
        await world.advance(minutes=10)
        assert (await engine.get(handle.id)).state == "cancelled"
        assert len(runs) == 1


@simulated
async def test_c_errors_that_are_raised(world: World) -> None:
    """C, never returned errors: ErrQueueFull, ErrInvalidPayload and ErrMaxRetriesExceeded are declared and never returned.

    Mended: QueueFull, InvalidPayload or TypeError, and TaskFailed are raised.
    """
    queue = Queue("q", max_pending=1)

    @queue.handler
    async def work(n: int) -> None:
        raise ValueError

    async with world.engine(queues=[queue]) as engine:
        with pytest.raises(ValueError, match="n"):
            await engine.submit("work", "not a number")
        with pytest.raises(TypeError):
            await engine.submit("work")
        await engine.pause("q")
        handle = await engine.submit(work, 1)
        with pytest.raises(QueueFull):
            await engine.submit(work, 2)
        await engine.resume("q")
        assert (await handle.wait()).state == "failed"

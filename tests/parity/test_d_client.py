"""backlite: making a client, registering queues, adding tasks, and their status."""

from __future__ import annotations

import contextlib
import uuid
from datetime import UTC, datetime

import pytest
import trio

from journeyman import (
    Context,
    Engine,
    HandlerNotFound,
    InvalidName,
    InvalidPayload,
    PayloadTooLarge,
    Queue,
    QueueExists,
    TaskNotFound,
)  # fmt: skip
from journeyman.sim import EngineCrashed, World
from tests.parity.virtual import is_gone, simulated


@simulated
async def test_d_what_must_be_given(world: World) -> None:
    """D, defaults: a database, a number of workers and ReleaseAfter must be given; without CleanupInterval nothing is ever cleaned up;
    two of its users wrap it only to supply what is missing.

    Mended: a path is all it takes (None for memory); everything has a default, cleaning up included.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with world.engine(queues=[queue]) as engine:
        handle = await engine.submit(work)
        await world.advance(hours=1.1)
        assert await is_gone(engine, handle.id)


async def test_d_registering() -> None:
    """D, Register: an empty queue name and a duplicate one are panics.

    Mended: they are errors: InvalidName, QueueExists.
    """
    with pytest.raises(InvalidName):
        Queue("")
    with pytest.raises(QueueExists, match="'x'"):
        async with Engine(None, [Queue("x"), Queue("x")]):
            pass


@simulated
async def test_d_opening_again(world: World) -> None:
    """D, Install: creates its tables if they are absent, safe to repeat; there are no migrations.

    Better: the journal is made when it is first opened, and has a version: an older one is upgraded, a newer one refused by name.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    ids = []
    for _ in range(3):
        async with world.engine(queues=[queue]) as engine:
            ids.append((await engine.submit(work.using(delay=99))).id)
            assert [task.id for task in await engine.list()] == ids[::-1]


@simulated
async def test_d_adding_many(world: World) -> None:
    """D, Add: tasks of any types in one transaction, all or none; their ids in the order they were given.

    Same: submit_many, over any number of queues.
    """
    mail, web = Queue("mail"), Queue("web")

    @mail.handler
    async def send(to: str) -> None: ...

    @web.handler
    async def fetch(url: str) -> None: ...

    async with world.engine(queues=[mail, web]) as engine:
        await engine.pause("mail")
        await engine.pause("web")
        calls = [send.bind("a"), fetch.bind("b"), (send.using(delay=5), ("c",), {}), ("fetch", ("d",), {})]
        handles = await engine.submit_many(calls)
        tasks = [await engine.get(handle.id) for handle in handles]
        assert [(task.queue, task.payload) for task in tasks] == [
            ("mail", (["a"], {})), ("web", (["b"], {})), ("mail", (["c"], {})), ("web", (["d"], {})),
        ]  # fmt: skip
        assert [task.id for task in tasks] == sorted(task.id for task in tasks)


@pytest.mark.parametrize("bad", ["type", "value", "encoding", "size", "handler"])
@simulated
async def test_d_all_or_none(world: World, bad: str) -> None:
    """D, Add: a task that cannot be encoded is an error, and nothing is stored.

    Same: whatever is wrong with one of them.
    """
    queue = Queue("q", max_payload=1000)

    @queue.handler
    async def work(n: int | str) -> None: ...

    @queue.handler
    async def loose(value): ...

    wrong = {
        "type": ("work", (), {}), "value": ("work", (1.5,), {}), "encoding": ("loose", (object(),), {}),
        "size": ("work", ("x" * 2000,), {}), "handler": ("nobody", (1,), {}),
    }[bad]  # fmt: skip
    async with world.engine(queues=[queue]) as engine:
        with pytest.raises((TypeError, InvalidPayload, PayloadTooLarge, HandlerNotFound)):
            await engine.submit_many([work.bind(1), work.bind(2), wrong, work.bind(3)])
        assert await engine.count() == 0


@simulated
async def test_d_a_crash_while_adding(world: World) -> None:
    """D, Add: one transaction.

    Same: a process that dies in the middle leaves all or none.
    """
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> None: ...

    async with world.engine(queues=[queue]) as engine:
        await engine.pause("q")

        async def add() -> None:
            with contextlib.suppress(EngineCrashed):  # nobody knows whether it was done
                await engine.submit_many([work.bind(n) for n in range(10)])

        for turns in range(6):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(add)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                await world.crash()
            await engine.ready()
            assert await engine.count() % 10 == 0


def test_d_delay_or_instant() -> None:
    """D, Add: At and Wait override each other, the last one wins, and apply to all tasks of the operation.

    Different: both at once are a ValueError; each task has its own.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    with pytest.raises(ValueError, match="not both"):
        work.using(delay=5, at=datetime(2030, 1, 1, tzinfo=UTC))
    assert work.using(delay=5).using(at=datetime(2030, 1, 1, tzinfo=UTC)) is not None, "a later using() says it anew"


async def test_d_a_caller_that_is_cancelled() -> None:
    """D, Add: with a context that is cancelled the error is that of the context.

    Same: and with id= the caller may ask again: the task is there once.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        return "once"

    async with Engine(None, [queue]) as engine:
        mine = work.using(id=str(uuid.uuid4()))
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.submit(mine)
        assert scope.cancelled_caught
        assert await (await engine.submit(mine)).result() == "once"
        assert await engine.count() == 1


@simulated
async def test_d_a_queue_that_is_not_registered(world: World) -> None:
    """D, unregistered queue: accepted when it is added; when its turn comes the process dies.

    Mended: QueueNotFound when it is added; a stored task of a queue or handler that is not there any more is parked.
    """
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        return "done"

    async with world.engine(queues=[queue]) as engine:
        with pytest.raises(LookupError):
            await engine.submit(engine.handler("work", "elsewhere"))
        handle = await engine.submit(work.using(delay=1))
    async with world.engine(queues=[]) as engine:
        await world.advance(minutes=1)
        assert (await engine.get(handle.id)).state == "pending"
    async with world.engine(queues=[queue]) as engine:
        await engine.drain()
        assert (await engine.get(handle.id)).result == "done"


@simulated
async def test_d_status(world: World) -> None:
    """D, Status: Pending (also while it is delayed or waits for a retry), Running, Success, Failure, and NotFound, also for what has ended
    and was not kept.

    Better: eight states, and everything else that is known of the task.
    """
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context, fails: bool) -> None:
        assert (await ctx.engine.get(ctx.id)).state == "running"
        if fails:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        delayed = await engine.submit(work.using(delay=50), False)
        assert (await engine.get(delayed.id)).state == "scheduled"
        assert (await (await engine.submit(work, False)).wait()).state == "succeeded"
        assert (await (await engine.submit(work, True)).wait()).state == "failed"
        with pytest.raises(TaskNotFound):
            await engine.get(str(uuid.uuid4()))


@simulated
async def test_d_no_notify(world: World) -> None:
    """D, Notify: tasks added in a transaction of the caller's wait until somebody calls Notify, or something else wakes the client.

    Mended: there is no call to forget: what is durable starts.  (A delay counts from the call, also in ctx.submit.)
    """
    queue, starts = Queue("q", concurrency=9), []

    @queue.handler
    async def child() -> None:
        starts.append(world.time())

    @queue.handler
    async def parent(ctx: Context) -> None:
        ctx.submit(child)
        await ctx.submit(child.using(delay=7.5))
        await trio.sleep(3)

    async with world.engine(queues=[queue]) as engine:
        await engine.submit(parent)
        await engine.drain()
        await world.advance(minutes=1)
    assert starts == pytest.approx([3, 7.5], abs=0.001)


@simulated
async def test_d_the_client_in_the_handler(world: World) -> None:
    """D, handler ctx: it carries the client, so that a handler can add tasks, and the deadline of the time-out.

    Better: ctx.engine for at once, ctx.submit for exactly when this run succeeds; the attempt number too.
    """
    queue, told = Queue("q", timeout=60), []

    @queue.handler
    async def child(how: str) -> None:
        world.effects.append(how)

    @queue.handler
    async def parent(ctx: Context, fails: bool) -> None:
        assert ctx.deadline is not None
        told.append(((ctx.deadline - ctx.now()).total_seconds(), ctx.attempt, ctx.max_attempts, ctx.queue))
        await ctx.engine.submit(child, "at once")
        await ctx.submit(child, "with the success")
        if fails:
            raise ValueError

    async with world.engine(queues=[queue]) as engine:
        await engine.submit(parent, True)
        await engine.submit(parent, False)
        await engine.drain()
    assert told == [(60, 1, 1, "q")] * 2
    assert (world.effects.count("at once"), world.effects.count("with the success")) == (2, 1)

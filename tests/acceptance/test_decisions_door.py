"""Decisions 31 to 35: errors, options, names, handlers and the context, as a caller meets them."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from journeyman.engine import (
    Constant,
    Context,
    Engine,
    EngineStopped,
    HandlerNotFound,
    InvalidName,
    Queue,
    QueueNotFound,
    Retry,
    State,
    TaskNotFound,
)
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock

CATALOGUE, NOW = Queue("catalogue"), datetime.now(UTC)


@CATALOGUE.handler
async def listed(n: int) -> int:
    return n


class Trouble(Exception):
    """Nobody else raises it."""


# decision 31
async def test_decision_31_the_blocks_own_error_leaves_bare() -> None:
    queue = Queue("q")

    @queue.handler
    async def hang() -> None:
        await trio.sleep_forever()

    trouble = Trouble("mine")
    with pytest.raises(Trouble) as caught:
        async with Engine(None, [queue], grace=0) as engine:
            await engine.submit(hang)
            raise trouble
    assert caught.value is trouble
    with pytest.raises(ExceptionGroup) as grouped:
        async with Engine(None, [queue]):
            raise ExceptionGroup("the caller's own group", [trouble])
    assert grouped.value.message == "the caller's own group"


# decision 31
async def test_decision_31_the_engines_own_failure_leaves_bare() -> None:
    class Broken(MemoryStore):
        fail = False

        def begin_append(self, batch: Any, done: Any) -> None:
            if self.fail:
                done(OSError(5, "Input/output error"))
            else:
                super().begin_append(batch, done)

    store = Broken()
    with pytest.raises(OSError, match="Input/output error"):
        async with Engine("x", [CATALOGUE], store=store) as engine:
            store.fail = True
            with pytest.raises((OSError, EngineStopped, trio.Cancelled)):
                await engine.submit(listed, 1)
            await trio.sleep_forever()  # the block is ended, not left to hang


# decision 31
async def test_decision_31_a_cancelled_scope_leaves_as_itself() -> None:
    with trio.move_on_after(0.01) as scope:
        async with Engine(None, [CATALOGUE]):
            await trio.sleep_forever()
    assert scope.cancelled_caught


# decision 31
@pytest.mark.parametrize(
    "using",
    [
        {"at": datetime(2030, 1, 1)},
        {"at": "2030-01-01"}, {"deadline": datetime(2030, 1, 1)}, {"delay": -1}, {"delay": float("nan")}, {"delay": 1, "at": NOW},
        {"priority": 1.5}, {"priority": 2**31}, {"attempts": 0}, {"timeout": 0}, {"owner": "me"}, {"tags": "one"}, {"id": "x"},
        {"meta": {"k": 1.5}}, {"meta": {"k": "x" * 5000}}, {"deadline": "soon"},
    ],
    ids=lambda using: next(iter(using)),
)  # fmt: skip
def test_decision_31_bad_values_are_value_errors(using: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        listed.using(**using)


# decision 31
@pytest.mark.parametrize("using", [{"source": ""}, {"tags": ("a\n",)}, {"owner": ("user", "")}, {"source": "x" * 129}])
def test_decision_31_bad_names_are_invalid_names(using: dict[str, Any]) -> None:
    with pytest.raises(InvalidName):
        listed.using(**using)


# decision 31
async def test_decision_31_a_stopped_engine_says_so() -> None:
    async with Engine(None, [CATALOGUE]) as engine:
        handle = await engine.submit(listed, 1)
        await handle.wait(timeout=5)
        assert await engine.stop() is True
        for ask in (
            engine.submit(listed, 1),
            engine.get(handle.id),
            engine.list(),
            engine.cancel(handle.id),
            handle.wait(),
            engine.drain(),
        ):
            with pytest.raises(EngineStopped):
                await ask
        assert await engine.stop() is True, "again: the same answer"
    with pytest.raises(EngineStopped):
        await engine.submit(listed, 1)


# decision 32
async def test_decision_32_using_over_handler_over_queue(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", concurrency=9, timeout=30)

    @queue.handler
    async def plain() -> None:
        await trio.sleep(100)

    @queue.handler(timeout=20)
    async def own() -> None:
        await trio.sleep(100)

    @queue.handler(timeout=None)
    async def none() -> None:
        await trio.sleep(100)

    async def runs(what: Any) -> float:
        task = await (await engine.submit(what)).wait()
        assert task.finished_at is not None
        assert task.started_at is not None
        assert (task.state is State.FAILED) == (task.error is not None)
        return round((task.finished_at - task.started_at).total_seconds(), 2)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        assert [await runs(handler) for handler in (plain, own, none)] == [30, 20, 100]
        assert [await runs(handler.using(timeout=10)) for handler in (plain, own, none)] == [10, 10, 10]
        assert [await runs(handler.using(timeout=None)) for handler in (plain, own, none)] == [100, 100, 100]
        assert [await runs(handler.using(priority=1)) for handler in (plain, own, none)] == [30, 20, 100]
        assert await runs(plain.using(timeout=5).using(priority=3)) == 5, "options add up"
        assert await runs(plain.using(timeout=5).using(timeout=6)) == 6


# decision 32
async def test_decision_32_the_context_goes_first_and_parameters_may_be_called_anything() -> None:
    queue = Queue("q")

    @queue.handler
    async def named(handler: str, self: int, queue: str = "") -> tuple[str, int, str]:
        return handler, self, queue

    @queue.handler(ctx=False)
    async def untyped(ctx) -> str:  # type: ignore[no-untyped-def]
        return str(ctx)

    @queue.handler(ctx=True)
    async def forced(c, n: int) -> int:  # type: ignore[no-untyped-def]
        return c.attempt + n

    with pytest.raises(TypeError, match="first"):

        @queue.handler
        async def late(n: int, ctx: Context) -> None: ...

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(named, handler="a", self=1, queue="b")
        assert await handle.result(timeout=5) == ("a", 1, "b")
        assert await (await engine.submit(untyped, "plain")).result(timeout=5) == "plain"
        assert await (await engine.submit(forced, 41)).result(timeout=5) == 42


# decision 33
async def test_decision_33_bind_and_handlers_without_code(autojump_clock: trio.testing.MockClock) -> None:
    store, here = MemoryStore(), Queue("mail")
    async with Engine("x", [here], store=store, clock=TrioClock()) as engine:
        send = engine.handler("send", queue="mail")
        first = await engine.submit(send.using(priority=20), "a", subject="x")
        [second] = await engine.submit_many([send.bind("b")])
        await trio.sleep(1)
        assert [(await engine.get(handle.id)).state for handle in (first, second)] == [State.PENDING] * 2
        assert [reason.kind for reason in (await engine.explain(first.id)).reasons] == ["no handler here"]
        assert (await engine.stats())["mail"].parked == 2
        with pytest.raises(QueueNotFound):
            await engine.submit(engine.handler("send", queue="nowhere"), "a")
        with pytest.raises(HandlerNotFound):
            await engine.submit("send", "a")
    there = Queue("mail")

    @there.handler
    async def send_it(to: str, subject: str = "hi") -> str:
        return f"{to}:{subject}"

    there = Queue("mail")
    there.handler(name="send")(send_it.function)
    async with Engine("x", [there], store=store, clock=TrioClock()) as engine:
        await engine.drain()
        tasks = [await engine.get(handle.id) for handle in (first, second)]
    assert [(task.result, task.attempt, task.priority) for task in tasks] == [("a:x", 1, 20), ("b:hi", 1, 5)]


# decision 34
async def test_decision_34_a_queue_serves_any_number_of_engines_and_is_sealed() -> None:
    queue = Queue("q")

    @queue.handler
    async def work(n: int) -> int:
        return n

    async with Engine(None, [queue]) as one, Engine(None, [queue]) as two:
        first, second = await one.submit(work, 1), await two.submit(work, 2)
        assert (await first.result(timeout=5), await second.result(timeout=5)) == (1, 2)
        assert await one.count() == await two.count() == 1
        with pytest.raises(TaskNotFound):
            await two.get(first.id)
        with pytest.raises(RuntimeError, match="before the engine is entered"):
            queue.handler(name="late")(work.function)
    with pytest.raises(RuntimeError):
        queue.handler(name="late")(work.function)


# decision 34
def test_decision_34_a_handler_travels_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(listed)) is listed
    assert listed.name == "listed"
    queue = Queue("q")

    @queue.handler
    async def hidden() -> None: ...

    with pytest.raises(pickle.PicklingError):
        pickle.dumps(hidden)


# decision 35
@pytest.mark.parametrize("threaded", [False, True])
async def test_decision_35_the_context(threaded: bool) -> None:
    queue, seen = Queue("q", retry=Retry(attempts=2, backoff=Constant(0))), list[tuple[Any, ...]]()

    def shared(ctx: Context) -> None:
        seen.append((ctx.idempotency_key, ctx.id, ctx.queue, ctx.random.random(), ctx.random.random(), ctx.now()))
        if ctx.attempt == 1:
            raise ValueError("again")

    def bare(ctx: Context) -> None:
        assert ctx.progress(0.25, "bare") is not None
        ctx.heartbeat()
        shared(ctx)

    async def awaited(ctx: Context) -> None:
        await ctx.progress(0.25, "bare")
        await ctx.heartbeat()
        shared(ctx)

    handler = queue.handler(bare if threaded else awaited)
    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(handler)).wait(timeout=5)
    assert (task.state, task.progress, task.message) == (State.SUCCEEDED, 0.25, "bare")
    first, second = seen
    assert first[0] == second[0] == task.id == first[1]
    assert first[3:5] != second[3:5], "each attempt draws its own numbers"
    assert all(task.submitted_at <= run[5] <= datetime.now(UTC) for run in seen)

"""Row 81: what a handler puts and submits is in the journal with its success, or not at all."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
import trio.lowlevel

from journeyman.engine import Context, Engine, Fatal, PayloadTooLarge, Queue, Retry, Snooze, State, TaskFailed, TransactionConflict
from journeyman.journal.memory_store import MemoryStore
from journeyman.kernel.bounds import VALUE_MAX_BYTES
from journeyman.kernel.events import TaskSucceeded, ValuePut
from journeyman.kernel.policy import Constant
from tests.acceptance.stores import WatchedStore, events_in


# row 81
async def test_row_81_puts_and_submits_commit_with_the_success() -> None:
    queue, store = Queue("q"), WatchedStore()

    @queue.handler
    async def leaf() -> None: ...

    @queue.handler
    async def work(ctx: Context, engine_sees: list[Any]) -> str:
        await ctx.put(b"a", b"1")
        ctx.put(b"a", b"2")
        ctx.put(b"b", b"3")
        ctx.delete(b"old")
        ctx.submit(leaf)
        assert (ctx.get(b"a"), ctx.get(b"old"), ctx.get(b"none")) == (b"2", None, None)
        assert await ctx.engine.values() == [(b"old", b"0")]
        return "done"

    async with Engine(None, [queue], store=store) as engine:
        async with engine.transaction() as tx:
            tx.put(b"old", b"0")
        handle = await engine.submit(work, [])
        assert await handle.result(5) == "done"
        assert await engine.values() == [(b"a", b"2"), (b"b", b"3")]
        id = handle.id
    events = list(events_in(store))
    [success] = [n for n, event in enumerate(events) if isinstance(event, TaskSucceeded) and event.task.hex() == id.replace("-", "")]
    puts = [(event.key, event.deleted) for event in events[success:] if isinstance(event, ValuePut)]
    assert puts == [(b"a", False), (b"b", False), (b"old", True)]
    assert all(event.by_task == events[success].task for event in events[success:] if isinstance(event, ValuePut))  # type: ignore[union-attr]


# row 81
@pytest.mark.parametrize("ending", ["fails", "retries", "snoozes", "is cancelled", "times out"])
async def test_row_81_not_at_all_where_the_run_does_not_succeed(ending: str) -> None:
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(0.0), jitter=0), timeout=0.1 if ending == "times out" else None)

    @queue.handler
    async def work(ctx: Context) -> None:
        ctx.put(b"run %d" % ctx.attempt, b"")
        if ctx.attempt > 1:
            return
        if ending == "fails":
            raise Fatal("no")
        if ending == "retries":
            raise ValueError("again")
        if ending == "snoozes":
            raise Snooze(0.01)
        if ending == "is cancelled":
            await ctx.engine.cancel(ctx.id)
        await trio.sleep(10)

    async with Engine(None, [queue]) as engine:
        task = await (await engine.submit(work)).wait(60)
        again = ending in ("retries", "snoozes", "times out")
        assert (task.state is State.SUCCEEDED) is again
        assert await engine.values() == ([(b"run 2", b"")] if again else [])


# row 81
async def test_row_81_a_thread_handler_puts_too() -> None:
    queue = Queue("q")

    @queue.handler
    def work(ctx: Context) -> bytes:
        seen = ctx.get(b"n") or b"0"
        ctx.put(b"n", b"%d" % (int(seen) + 1))
        ctx.delete(b"gone")
        return ctx.get(b"n") or b""

    async with Engine(None, [queue]) as engine:
        for n in range(1, 4):
            assert await (await engine.submit(work)).result(5) == b"%d" % n
        assert await engine.value(b"n") == b"3"


# row 81
async def test_row_81_what_a_run_has_read_must_still_be_so_when_it_succeeds() -> None:
    queue = Queue("q", concurrency=2, retry=Retry(attempts=100, backoff=Constant(0.0), jitter=0))
    alone = Queue("alone")
    runs = 0

    async def count(ctx: Context) -> None:
        nonlocal runs
        runs += 1
        seen = int(ctx.get(b"n") or b"0")
        await trio.sleep(0.001)
        ctx.put(b"n", b"%d" % (seen + 1))

    queue.handler(name="count")(count)
    alone.handler(name="alone")(count)

    @alone.handler
    async def reads(ctx: Context) -> bytes | None:
        seen = ctx.get(b"n")
        async with ctx.engine.transaction() as tx:
            tx.put(b"n", b"100")
        return seen

    async with Engine(None, [queue, alone]) as engine:
        handles = await engine.submit_many([("count", (), {})] * 10)
        assert [(await handle.wait(5)).state for handle in handles] == [State.SUCCEEDED] * 10
        assert runs > 10  # some met a conflict, and ran again
        assert await engine.value(b"n") == b"10"
        assert await (await engine.submit(reads)).result(5) == b"10"  # it has put nothing that rests on it

        async def disturb() -> None:
            await trio.lowlevel.checkpoint()
            async with engine.transaction() as tx:
                tx.put(b"n", b"7")

        async with trio.open_nursery() as nursery:
            handle = await engine.submit("alone")
            nursery.start_soon(disturb)
        with pytest.raises(TaskFailed) as caught:  # one attempt is all it has
            await handle.result(5)
        assert caught.value.failure is not None
        assert caught.value.failure.type == f"{TransactionConflict.__module__}.TransactionConflict"
        assert await engine.value(b"n") == b"7"


# row 81
async def test_row_81_two_tasks_that_end_in_one_step_see_each_others_puts() -> None:
    queue = Queue("q", concurrency=2)
    store = MemoryStore()
    gate = trio.Event()

    @queue.handler
    async def work(ctx: Context, n: int) -> None:
        ctx.put(b"k", b"%d" % n)
        await gate.wait()

    async with Engine(None, [queue], store=store) as engine:
        handles = await engine.submit_many([(work, (n,), {}) for n in (1, 2)])
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        for handle in handles:
            await handle.wait(5)
        last = await engine.value(b"k")
    puts = [event for event in events_in(store) if isinstance(event, ValuePut)]
    assert [put.former != 0 for put in puts] == [False, True]
    assert puts[-1].value_len == 1
    async with Engine(None, [queue], store=store) as engine:
        assert await engine.value(b"k") == last


# row 81
async def test_row_81_after_its_end_an_attempt_puts_nothing() -> None:
    queue = Queue("q")
    kept: list[Context] = []

    @queue.handler
    async def work(ctx: Context) -> None:
        kept.append(ctx)
        with pytest.raises(PayloadTooLarge):
            ctx.put(b"k", bytes(VALUE_MAX_BYTES + 1))
        with pytest.raises(TypeError):
            ctx.put("k", b"")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="1 to 256"):
            ctx.get(b"")

    async with Engine(None, [queue]) as engine:
        await (await engine.submit(work)).result(5)
        [ctx] = kept
        for call in (lambda: ctx.put(b"k", b"v"), lambda: ctx.delete(b"k"), lambda: ctx.get(b"k")):
            with pytest.raises(RuntimeError, match="this attempt is over"):
                call()
        assert await engine.values() == []


# row 81
async def test_row_81_a_run_that_outlived_its_time_out_puts_nothing(leaping_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", timeout=30, retry=Retry(attempts=1))
    entered, go = trio.Event(), threading.Event()

    @queue.handler
    def work(ctx: Context) -> str:
        ctx.put(b"k", b"v")
        trio.from_thread.run_sync(entered.set, trio_token=ctx._token)
        go.wait(20)
        return "too late"

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(work)
        await entered.wait()
        leaping_clock.jump(31)
        with pytest.raises(TaskFailed):
            await handle.result()
        go.set()
        await engine.drain()
        assert await engine.values() == []


# row 81
async def test_row_81_a_namespaces_tasks_put_into_its_own_keys() -> None:
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context) -> None:
        ctx.put(b"k", b"v")

    async with Engine(None) as engine:
        plugin = engine.namespace("plugin")
        await plugin.create_queue(queue)
        await (await plugin.submit(work)).result(5)
        assert await plugin.values() == [(b"k", b"v")]
        assert await engine.values() == []

"""Decisions 18, 19 and 20: deadlines, tasks that come with a success, drain, room."""

from __future__ import annotations

from uuid import uuid4

import pytest
import trio

from journeyman.engine import (
    Constant,
    Context,
    DuplicateTask,
    Engine,
    Queue,
    QueueFull,
    Retry,
    RetryLater,
    Snooze,
    State,
    TaskCancelled,
    TaskFailed,
)
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.virtual import TrioClock, until


# decision 18
async def test_decision_18_deadline_is_for_the_start(autojump_clock: trio.testing.MockClock) -> None:
    queue, ran = Queue("q"), list[str]()

    @queue.handler
    async def work(name: str) -> None:
        ran.append(name)
        await trio.sleep(10)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        started = await engine.submit(work.using(deadline=5), "starts in time")  # and may end after it
        missed = await engine.submit(work.using(deadline=5), "waits too long")
        roomy = await engine.submit(work.using(deadline=60), "waits")
        begun = trio.current_time()
        task = await missed.wait()
        assert trio.current_time() - begun == pytest.approx(5, abs=0.01), "cancelled when it is missed, not when a slot is free"
        assert (task.state, task.reason, task.attempt) == (State.CANCELLED, "deadline", 0)
        with pytest.raises(TaskCancelled, match="deadline"):
            await missed.result()
        assert (await started.wait()).state is (await roomy.wait()).state is State.SUCCEEDED
    assert ran == ["starts in time", "waits"]


# decision 18
async def test_decision_18_result_of_an_interrupted_task_is_task_failed() -> None:
    queue, store = Queue("q", on_crash="interrupt"), MemoryStore()

    @queue.handler
    async def hang() -> None:
        await trio.sleep_forever()

    frozen = MemoryStore()
    async with Engine("x", [queue], store=store, grace=0) as engine:
        handle = await engine.submit(hang)
        await trio.testing.wait_all_tasks_blocked()
        for table in store.tables:  # what a kill at this instant leaves behind
            for key, value in store.tables[table].rows.items():
                frozen.tables[table].put(key, value)
        frozen.marks = dict(store.marks)
    async with Engine("x", [queue], store=frozen) as engine:
        again = await engine.submit(hang.using(id=handle.id))
        with pytest.raises(TaskFailed, match="interrupted") as caught:
            await again.result(timeout=5)
        assert (caught.value.task.state, caught.value.task.attempt) == (State.INTERRUPTED, 1)


# decision 18
async def test_decision_18_ctx_submit_commits_with_the_success_or_not_at_all() -> None:
    queue, child = Queue("q", concurrency=2, retry=Retry(attempts=2, backoff=Constant(0))), Queue("child")
    waited: list[BaseException] = []

    @child.handler
    async def follow(attempt: int) -> int:
        return attempt

    @queue.handler
    async def work(ctx: Context, how: str) -> str:
        handle = ctx.submit(follow, ctx.attempt)
        try:
            with trio.fail_after(5):
                await handle.wait()
        except RuntimeError as error:
            waited.append(error)
        assert await ctx.engine.count("child", parent=ctx.id) == 0, "not before the success"
        if how == "fail" or (how == "once" and ctx.attempt == 1):
            raise ValueError("no")
        return handle.id

    async with Engine(None, [queue, child]) as engine:
        fine, once, never = [await engine.submit(work, how) for how in ("fine", "once", "fail")]
        for parent, expected in ((fine, [1]), (once, [2]), (never, [])):
            await parent.wait(timeout=5)
            await engine.drain(timeout=5)
            children = await engine.list("child", parent=parent.id)
            assert [task.result for task in children] == expected
            assert [task.parent for task in children] == [parent.id] * len(expected)
        assert (await engine.list("child", parent=fine.id))[0].id == await fine.result()
    assert all("ctx.engine.submit" in str(error) for error in waited)
    assert len(waited) == 5


# decision 18
async def test_decision_18_room_for_ctx_submit_is_decided_and_reserved_at_the_call() -> None:
    queue, child = Queue("q", concurrency=2), Queue("child", max_pending=2)
    go, reserved = trio.Event(), trio.Event()

    @child.handler
    async def follow(n: int) -> None: ...

    @queue.handler
    async def work(ctx: Context, fail: bool) -> int:
        ctx.submit(follow, 1)
        ctx.submit(follow, 2)
        with pytest.raises(QueueFull):
            ctx.submit(follow, 3)
        reserved.set()
        await go.wait()
        if fail:
            raise ValueError("no")
        return 1

    async with Engine(None, [queue, child]) as engine:
        await engine.pause("child")
        for fail in (True, False):
            go, reserved = trio.Event(), trio.Event()
            parent = await engine.submit(work, fail)
            await reserved.wait()
            with pytest.raises(QueueFull):
                await engine.submit(follow, 9)  # the room is promised
            go.set()
            task = await parent.wait(timeout=5)
            assert task.state is (State.FAILED if fail else State.SUCCEEDED)
            assert await engine.count("child") == (0 if fail else 2)


# decision 18
async def test_decision_18_a_promise_is_kept_when_retries_have_filled_the_queue() -> None:
    queue, child = Queue("q"), Queue("child", max_pending=1, retry=Retry(attempts=2, backoff=Constant(1000)))
    promised, fail = trio.Event(), trio.Event()

    @child.handler
    async def follow(n: int) -> None:
        await fail.wait()
        raise ValueError("no")

    @queue.handler
    async def work(ctx: Context) -> str:
        handle = ctx.submit(follow.using(delay=1000), 2)
        promised.set()

        async def failed() -> bool:
            return await ctx.engine.count("child", state="retrying") == 1

        await until(failed)
        return handle.id

    async with Engine(None, [queue, child]) as engine:
        await engine.submit(follow, 1)  # runs, so it does not count; later it waits for its retry, and does
        parent = await engine.submit(work)
        await promised.wait()
        fail.set()
        assert (await engine.get(await parent.result(timeout=5))).state is State.SCHEDULED
        assert await engine.count("child") == 2


# decision 18
async def test_decision_18_ctx_submit_finds_a_duplicate_at_the_call() -> None:
    queue, child, id = Queue("q"), Queue("child"), str(uuid4())

    @child.handler
    async def follow(n: int) -> None: ...

    @queue.handler
    async def work(ctx: Context) -> str:
        with pytest.raises(DuplicateTask):
            ctx.submit(follow.using(id=id), 2)
        return ctx.submit(follow.using(id=id), 1).id

    async with Engine(None, [queue, child]) as engine:
        await (await engine.submit(follow.using(id=id), 1)).wait(timeout=5)
        assert await (await engine.submit(work)).result(timeout=5) == id
        assert await engine.count("child") == 1


# decision 19
async def test_decision_19_drain_waits_for_what_moves_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    queue, idle = Queue("q", retry=Retry(attempts=2, backoff=Constant(50), jitter=0)), Queue("idle")

    @queue.handler
    async def work(ctx: Context, how: str) -> None:
        if ctx.attempt == 1:
            if how == "fail":
                raise ValueError("again")
            if how == "snooze":
                raise Snooze(70)
            if how == "later":
                raise RetryLater(delay=60)
        await trio.sleep(3)

    @idle.handler
    async def rest() -> None: ...

    async with Engine(None, [queue, idle], clock=TrioClock()) as engine:
        await engine.drain()
        for how, seconds in (("plain", 3), ("fail", 53), ("later", 63), ("snooze", 73)):
            begun = trio.current_time()
            await engine.submit(work, how)
            await engine.drain()
            assert trio.current_time() - begun == pytest.approx(seconds, abs=0.01), how
        await engine.pause("idle")
        await engine.submit(rest)  # paused
        await engine.submit(work.using(delay=1000), "scheduled")
        await engine.submit(engine.handler("nobody", queue="q"), 1)  # parked
        begun = trio.current_time()
        await engine.drain()
        assert trio.current_time() - begun < 0.01
        await engine.submit(work, "fail")
        with pytest.raises(trio.TooSlowError):
            await engine.drain(timeout=5)
        await engine.drain(timeout=100)
        assert await engine.count(state="succeeded") == 5


# decision 20
async def test_decision_20_max_pending_counts_what_waits_and_refuses_only_from_outside(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", max_pending=3, retry=Retry(attempts=2, backoff=Constant(1000), jitter=0))

    @queue.handler
    async def work(how: str) -> None:
        if how == "fail":
            raise ValueError("no")
        await trio.sleep(100)

    async with Engine(None, [queue], clock=TrioClock(), grace=0) as engine:
        failed = await engine.submit(work, "fail")
        await trio.sleep(1)
        await engine.submit(work, "runs")  # running does not count
        await engine.submit(work, "pending")
        scheduled = await engine.submit(work.using(delay=500), "scheduled")
        assert [str((await engine.get(id)).state) for id in (failed.id, scheduled.id)] == ["retrying", "scheduled"]
        with pytest.raises(QueueFull, match="max_pending=3"):
            await engine.submit(work, "one too many")
        assert await engine.count() == 4
        await scheduled.cancel()
        await engine.submit(work, "takes its place")
        with pytest.raises(QueueFull):
            await engine.submit(work, "one too many")
        await engine.retry(scheduled.id)  # by hand: not from outside
        assert await engine.count(state=("pending", "scheduled", "retrying")) == 4

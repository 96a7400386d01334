"""Rows 55 to 58 and 60: stopping in every way, starting again, jitter."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.engine import Context, Engine, EngineStopped, Exponential, JournalFull, JournalLocked, Queue, Rate, Retry
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done
from tests.acceptance.processes import Program
from tests.acceptance.virtual import SlowStore, TrioClock


class Lane:
    """A queue whose handler waits until it is let go, and notes what happened to it."""

    def __init__(self, **policy: object) -> None:
        self.queue = Queue("q", **{"retry": Retry(attempts=1, crashes=0), **policy})  # type: ignore[arg-type]
        self.entered, self.go = trio.Event(), trio.Event()
        self.notes: list[str] = []

        @self.queue.handler
        async def work(ctx: Context) -> str:
            self.entered.set()
            try:
                await self.go.wait()
            except trio.Cancelled:
                self.notes.append("told to end")
                raise
            return f"run {ctx.attempt}"

        self.work = work


# row 55
async def test_row_55_any_number_of_stops_spends_no_budget() -> None:
    lane, store = Lane(concurrency=3), MemoryStore()
    for boot in range(6):
        lane.entered = trio.Event()
        async with Engine(None, [lane.queue], store=store, grace=0) as engine:
            if not boot:
                handles = await engine.submit_many([(lane.work,)] * 5)
            await lane.entered.wait()
    assert len(lane.notes) == 18
    lane.go.set()
    async with Engine(None, [lane.queue], store=store) as engine:
        await engine.drain(timeout=5)
        for handle in handles:
            task = await engine.get(handle.id)
            assert (task.state, task.failures, task.crashes) == ("succeeded", 0, 0)
        assert (await engine.get(handles[0].id)).attempt == 7, "the number still counts every run"


# row 55
@pytest.mark.parametrize("ending", ["raises", "returns", "group", "another Cancelled swallowed"])
async def test_row_55_how_a_handler_takes_its_stop(ending: str) -> None:
    queue, store, entered = Queue("q", retry=Retry(attempts=1)), MemoryStore(), trio.Event()

    @queue.handler
    async def work(ctx: Context) -> str:
        entered.set()
        if ctx.attempt > 1:
            return "second run"
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if ending == "raises":
                raise ValueError("in the clean-up") from None
            if ending == "group":
                raise ExceptionGroup("clean-up", [ValueError()]) from None
            if ending == "returns":
                return "saved at the last moment"
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled:
                raise
        raise AssertionError

    async with Engine(None, [queue], store=store, grace=0) as engine:
        handle = await engine.submit(work)
        await entered.wait()
    async with Engine(None, [queue], store=store) as engine:
        await engine.drain(timeout=5)
        task = await engine.get(handle.id)
    assert (task.state, task.failures, task.crashes) == ("succeeded", 0, 0)
    assert task.result == ("saved at the last moment" if ending == "returns" else "second run"), "a success after the stop began is kept"


# row 55
async def test_row_55_a_start_that_was_held_is_given_back_at_a_stop(autojump_clock: trio.testing.MockClock) -> None:
    queue, store, ran = Queue("q", concurrency=5, rate=Rate(1, per=50.0, burst=1)), MemoryStore(), []

    @queue.handler
    async def work(n: int) -> None:
        ran.append(n)

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        await engine.submit_many([(work, (n,)) for n in range(3)])
        assert await engine.stop() is True
    assert ran in ([], [0])
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        await engine.drain()
        assert {(t.state, t.failures, t.crashes) for t in await engine.list()} == {("succeeded", 0, 0)}
    assert sorted(ran) == [0, 1, 2]


# row 56
async def test_row_56_stop_waits_its_grace_and_says_whether_all_could_finish(autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", concurrency=2), MemoryStore()

    @queue.handler
    async def work(seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        quick, waits = (await engine.submit_many([(work, (5.0,)), (work, (6.0,)), (work, (1.0,))]))[::2]
        await trio.sleep(1)
        began = trio.current_time()
        assert await engine.stop(grace=10) is True
        assert trio.current_time() == pytest.approx(began + 5, abs=0.01), "no longer than the last needs"
        assert await engine.stop() is True
        for call in (engine.submit(work, 1.0), engine.get(quick.id), engine.count(), engine.pause("q"), quick.wait(), engine.drain()):
            with pytest.raises(EngineStopped):
                await call
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        assert (await engine.get(quick.id)).result == 5.0
        assert (await engine.get(waits.id)).attempt <= 1, "nothing new was started during the grace"
        await engine.submit(work, 1000.0)
        await trio.sleep(2)
        began = trio.current_time()
        assert await engine.stop(grace=3) is False
        assert trio.current_time() == pytest.approx(began + 3, abs=0.01)


# row 56
async def test_row_56_leaving_the_block_waits_the_engines_grace(autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q"), MemoryStore()

    @queue.handler
    async def work(seconds: float) -> str:
        await trio.sleep(seconds)
        return "done"

    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=20) as engine:
        inside = await engine.submit(work, 19.0)
        await trio.testing.wait_all_tasks_blocked()
    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=20) as engine:
        assert (await engine.get(inside.id)).state == "succeeded"


# row 56
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_row_56_stop_from_inside_a_handler_is_an_error(threaded: bool) -> None:
    queue = Queue("q")
    if threaded:

        @queue.handler(name="ends itself")
        def work(ctx: Context) -> str:
            try:
                trio.from_thread.run(ctx.engine.stop)
            except RuntimeError as error:
                return str(error)
            return "stopped"
    else:

        @queue.handler(name="ends itself")
        async def work(ctx: Context) -> str:  # type: ignore[misc]
            try:
                await ctx.engine.stop()
            except RuntimeError as error:
                return str(error)
            return "stopped"

    async with Engine(None, [queue]) as engine:
        with trio.fail_after(5):
            assert "inside a handler" in await (await engine.submit("ends itself")).result()


# row 57
async def test_row_57_a_cancelled_scope_ends_the_engine_and_the_next_open_goes_on() -> None:
    lane, store = Lane(), MemoryStore()
    with trio.move_on_after(5) as scope:
        async with Engine(None, [lane.queue], store=store, grace=1000) as engine:
            handle = await engine.submit(lane.work)
            await lane.entered.wait()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert lane.notes == ["told to end"]
    lane.go.set()
    async with Engine(None, [lane.queue], store=store) as engine:
        await engine.drain(timeout=5)
        task = await engine.get(handle.id)
        assert (task.state, task.attempt, task.failures, task.crashes) == ("succeeded", 2, 0, 0)


# row 57
async def test_row_57_a_scope_cancelled_while_the_engine_opens() -> None:
    """trio leaves a child that starts late with its cancelled starter, and the engine waited for its own end."""
    lane, store = Lane(), SlowStore()
    store.seconds = 0.1  # the boot is a commit, and the cancel comes while it is under way
    with trio.fail_after(5), trio.move_on_after(0.05) as scope:
        async with Engine(None, [lane.queue], store=store):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    async with Engine(None, [lane.queue], store=store) as engine:
        lane.go.set()
        assert await (await engine.submit(lane.work)).result(timeout=5) == "run 1"


# row 57
async def test_row_57_a_scope_cancelled_during_the_grace_ends_the_wait() -> None:
    lane, store = Lane(), MemoryStore()
    with trio.move_on_after(0.2) as scope:
        async with Engine(None, [lane.queue], store=store, grace=1000) as engine:
            handle = await engine.submit(lane.work)
            await lane.entered.wait()
    assert scope.cancelled_caught
    lane.go.set()
    async with Engine(None, [lane.queue], store=store) as engine:
        await engine.drain(timeout=5)
        assert (await engine.get(handle.id)).crashes == 0


# row 57
async def test_row_57_a_handler_that_will_not_end_is_waited_for_five_seconds(autojump_clock: trio.testing.MockClock) -> None:
    queue, store, entered, stubborn = Queue("q"), MemoryStore(), trio.Event(), 30.0

    @queue.handler
    async def work(ctx: Context) -> str:
        entered.set()
        if ctx.attempt == 1:
            with trio.CancelScope(shield=True):
                await trio.sleep(stubborn)
        return f"run {ctx.attempt}"

    async with Engine(None, [queue], store=store, clock=TrioClock(), grace=0) as engine:
        handle = await engine.submit(work)
        await entered.wait()
        assert await engine.stop() is False
    after = copy.deepcopy(store)
    async with Engine(None, [queue], store=after, clock=TrioClock()) as engine:
        await engine.drain()
        assert (await engine.get(handle.id)).state == "succeeded"


# row 57, row 33
async def test_row_57_an_error_of_the_block_leaves_it_bare() -> None:
    lane, store = Lane(), MemoryStore()
    error = LookupError("the owner's own")
    with pytest.raises(LookupError) as caught:
        async with Engine(None, [lane.queue], store=store) as engine:
            await engine.submit(lane.work)
            await lane.entered.wait()
            raise error
    assert caught.value is error
    with pytest.raises(ExceptionGroup) as group:
        async with Engine(None, [lane.queue], store=store) as engine:
            raise ExceptionGroup("the owner's group", [error])
    assert group.value.message == "the owner's group"


# row 58
async def test_row_58_one_entry_at_a_time_and_then_again(tmp_path: Path) -> None:
    lane = Lane()
    lane.go.set()
    engine = Engine(tmp_path / "j", [lane.queue])
    async with engine:
        handle = await engine.submit(lane.work)
        with pytest.raises(RuntimeError, match="already entered"):
            await engine.__aenter__()
        with pytest.raises(JournalLocked, match=str(os.getpid())):
            await Engine(tmp_path / "j", [lane.queue]).__aenter__()
        assert await handle.result(timeout=5) == "run 1", "neither attempt disturbed the one inside"
    async with engine:
        assert (await engine.get(handle.id)).result == "run 1"
    async with Engine(tmp_path / "j", [lane.queue]) as another:
        assert (await another.get(handle.id)).result == "run 1"


# row 58
def test_row_58_another_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    held = Program("held", tmp_path / "j")
    held.until("ready")
    refused = Program("look", tmp_path / "j").ended()
    assert refused.code == 1
    assert f"JournalLocked: {''}" in refused.err
    assert str(held.pid) in refused.err
    held.process.kill()
    held.ended()
    assert Program("look", tmp_path / "j").ended().code == 0


# row 60
async def test_row_60_jitter_is_spread_bounded_and_a_pure_function_of_task_and_failure(autojump_clock: trio.testing.MockClock) -> None:
    def lane(jitter: float) -> Queue:
        queue = Queue("q", concurrency=50, retry=Retry(attempts=4, backoff=Exponential(100, factor=2), jitter=jitter))

        @queue.handler
        async def fail() -> None:
            raise ValueError

        return queue

    async def delays(jitter: float, ids: list[str]) -> list[list[float]]:
        async with Engine(None, [lane(jitter)], clock=TrioClock()) as engine:
            handles = [await engine.submit(engine.handler("fail", "q").using(id=id)) for id in ids]
            await engine.drain()
            return [
                [(e.details["due_at"] / 1e6 - e.at.timestamp()) for e in await engine.history(h.id) if e.kind == "AttemptFailed"]
                for h in handles
            ]

    ids = [f"01890000-0000-7000-8000-{n:012x}" for n in range(30)]
    assert await delays(0, ids) == [[pytest.approx(d, abs=1e-5) for d in (100, 200, 400)]] * 30
    first, second = await delays(0.1, ids), await delays(0.1, ids)
    assert first == [[pytest.approx(d, abs=1e-5) for d in row] for row in second]
    for n, plain in enumerate((100, 200, 400)):
        column = [row[n] for row in first]
        assert all(0.9 * plain - 1e-5 <= d <= 1.1 * plain + 1e-5 for d in column)
        assert len({round(d, 3) for d in column}) > 25
        assert max(column) - min(column) > 0.1 * plain, "spread, not merely shifted"


class Dying(MemoryStore):
    """A disk that fails from the moment it is told to, after a while."""

    dead = False

    def begin_append(self, batch: Batch, done: Done) -> None:
        if self.dead:
            done(JournalFull("the disk is full"))
        else:
            super().begin_append(batch, done)


# row 56: found by simulation
async def test_row_56_who_drains_outside_the_block_is_told_when_the_engine_ends() -> None:
    queue, store = Queue("q"), Dying()

    @queue.handler
    async def work() -> None:
        await trio.sleep_forever()

    said: list[Exception] = []

    async def beside(engine: Engine) -> None:
        try:
            await engine.drain()
        except Exception as error:
            said.append(error)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            with pytest.raises(JournalFull):
                async with Engine("x", [queue], store=store) as engine:
                    await engine.submit(work)
                    nursery.start_soon(beside, engine)
                    await trio.testing.wait_all_tasks_blocked()
                    store.dead = True
                    await engine.pause("q")
    assert [isinstance(error, (EngineStopped, JournalFull)) for error in said] == [True]

"""Rows 51 to 54: what a crash does to running tasks.

A memory store copied in the middle of things is what the disk of a process that died just then would look like; real deaths are in
processes of their own.
"""

from __future__ import annotations

import copy
import signal
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Context, Engine, Queue, Retry, TaskFailed
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.processes import Program
from tests.acceptance.virtual import TrioClock, told

NO_PAUSE = Constant(0.0)


class Lane:
    """A queue whose handler hangs in its first runs; `disk_at_death` is the journal as the last of its starts left it."""

    def __init__(self, hang_until: int, **policy: object) -> None:
        self.queue = Queue("q", **policy)  # type: ignore[arg-type]
        self.entered = trio.Event()
        self.runs: list[int] = []

        @self.queue.handler
        async def work(ctx: Context) -> str:
            self.runs.append(ctx.attempt)
            self.entered.set()
            if ctx.attempt < hang_until:
                await trio.sleep_forever()
            return f"run {ctx.attempt}"

        self.work = work

    async def disk_at_death(self, store: MemoryStore) -> MemoryStore:
        """Open the journal, let the handler be entered, and die."""
        self.entered = trio.Event()
        async with Engine(None, [self.queue], store=store, clock=TrioClock(), grace=0) as engine:
            if not await engine.count():
                await engine.submit(self.work)
            await self.entered.wait()
            await engine.get((await engine.list())[0].id)
            return copy.deepcopy(store)


# row 51
async def test_row_51_what_ran_runs_again_at_once(autojump_clock: trio.testing.MockClock) -> None:
    lane = Lane(hang_until=3, retry=Retry(attempts=1, backoff=Constant(1000)))
    store = await lane.disk_at_death(MemoryStore())
    store = await lane.disk_at_death(store)
    began = trio.current_time()
    async with Engine(None, [lane.queue], store=store, clock=TrioClock()) as engine:
        await engine.drain()
        (task,) = await engine.list()
        kinds = [e.kind for e in await engine.history(task.id)]
    assert trio.current_time() == pytest.approx(began, abs=0.01), "no time-out is guessed, no backoff waited for"
    assert (task.state, task.result, task.attempt, task.failures, task.crashes) == ("succeeded", "run 3", 3, 0, 2)
    assert lane.runs == [1, 2, 3]
    assert kinds == ["TaskSubmitted", *["AttemptStarted", "AttemptLost"] * 2, "AttemptStarted", "TaskSucceeded"]


# row 51, row 20
async def test_row_51_what_waited_keeps_its_instant(autojump_clock: trio.testing.MockClock) -> None:
    queue, store, ran = Queue("q", retry=Retry(attempts=2, backoff=Constant(100), jitter=0)), MemoryStore(), []

    @queue.handler
    async def work(ctx: Context, name: str) -> None:
        ran.append((name, trio.current_time()))
        if name == "fails once" and ctx.attempt == 1:
            raise ValueError

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        await engine.submit(work, "fails once")
        await engine.submit(work.using(delay=50), "delayed")
        await trio.sleep(10)
        store = copy.deepcopy(store)
    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        await trio.sleep(200)
    assert [name for name, _ in ran] == ["fails once", "delayed", "fails once"]
    assert [at for _, at in ran[1:]] == pytest.approx([50, 100], abs=0.01)


# row 51
def test_row_51_after_a_real_kill_the_journal_opens_and_the_task_runs_again(tmp_path: Path) -> None:
    held = Program("held", tmp_path / "j")
    held.until("ready")
    held.signal(signal.SIGKILL)
    assert held.ended().code == -signal.SIGKILL
    ended = Program("crash", tmp_path / "j").ended()
    assert ended.code == 0, ended
    assert "sleeper succeeded attempt=2 failures=0 crashes=1" in ended.out, ended


# row 52
async def test_row_52_interrupt_marks_and_never_runs_again(autojump_clock: trio.testing.MockClock) -> None:
    lane = Lane(hang_until=2, on_crash="interrupt")
    store = await lane.disk_at_death(MemoryStore())
    async with Engine(None, [lane.queue], store=store, clock=TrioClock()) as engine:
        await engine.drain()
        (task,) = await engine.list()
        assert (task.state, task.attempt, task.failures, task.crashes) == ("interrupted", 1, 0, 0)
        assert "died" in str(task.reason)
        assert lane.runs == [1]
        assert "ended" in {r.kind for r in (await engine.explain(task.id)).reasons}
        # A person who knows what happened may send it round again.
        await engine.retry(task.id, reason="checked by hand")
        await engine.drain()
        task = await engine.get(task.id)
        assert (task.state, task.attempt) == ("succeeded", 2)


# row 52
async def test_row_52_the_result_of_an_interrupted_task_is_a_failure(autojump_clock: trio.testing.MockClock) -> None:
    lane = Lane(hang_until=2, on_crash="interrupt")
    store = await lane.disk_at_death(MemoryStore())
    async with Engine(None, [lane.queue], store=store, clock=TrioClock()) as engine:
        (task,) = await engine.list()
        again = await engine.submit(lane.work.using(id=task.id))
        with pytest.raises(TaskFailed, match="interrupted"):
            await again.result(timeout=1)


# row 52
def test_row_52_after_a_real_kill(tmp_path: Path) -> None:
    victim = Program("once", tmp_path / "j")
    victim.until("ready")
    victim.signal(signal.SIGKILL)
    victim.ended()
    ended = Program("once", tmp_path / "j").ended()
    assert "once interrupted attempt=1 failures=0 crashes=0" in ended.out, ended
    assert "ready" not in ended.out, "it must not be entered again"


# row 53
async def test_row_53_a_silent_attempt_is_cancelled_and_counts_as_failed(autojump_clock: trio.testing.MockClock) -> None:
    queue, cleaned = Queue("q", heartbeat=5, retry=Retry(attempts=2, backoff=NO_PAUSE, on=(ConnectionError,))), []

    @queue.handler
    async def work(ctx: Context) -> str:
        if ctx.attempt > 1:
            return "second run"
        try:
            for _ in range(10):
                await trio.sleep(4.9)
                await ctx.heartbeat()
            for _ in range(10):
                await trio.sleep(4.9)
                await ctx.progress(0.5)  # says so too
            await trio.sleep_forever()
        finally:
            cleaned.append(trio.current_time())
        raise AssertionError

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handle = await engine.submit(work)
        assert await handle.result() == "second run"
        assert cleaned == [pytest.approx(20 * 4.9 + 5, abs=0.01)]
        task = await engine.get(handle.id)
        assert (task.failures, task.crashes) == (1, 0)
        history = await engine.history(handle.id)
        (failed,) = [e for e in history if e.kind == "AttemptFailed"]
        assert failed.details["cause"] == "heartbeat"
        assert not [e for e in history if "eat" in e.kind], "a heartbeat is never an event"


# row 53
async def test_row_53_the_heartbeat_of_handler_and_task_win_over_the_queue(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", heartbeat=5)

    @queue.handler(heartbeat=None)
    async def quiet() -> None:
        await trio.sleep(1000)

    @queue.handler
    async def loud() -> None:
        await trio.sleep(8)

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        assert (await (await engine.submit(quiet)).wait()).state == "succeeded"
        assert (await (await engine.submit(loud)).wait()).state == "failed"
        assert (await (await engine.submit(loud.using(heartbeat=10))).wait()).state == "succeeded"


# row 53, row 32
async def test_row_53_a_thread_beats_and_a_silent_thread_is_given_up(leaping_clock: trio.testing.MockClock) -> None:
    queue, go, entered = Queue("q", heartbeat=30, retry=Retry(attempts=1)), threading.Event(), threading.Event()
    beaten, on = threading.Semaphore(0), threading.Semaphore(0)

    @queue.handler
    def beats(ctx: Context) -> str:
        for _ in range(4):
            ctx.heartbeat()
            beaten.release()
            on.acquire(timeout=20)
        return "lived"

    @queue.handler
    def silent() -> str:
        entered.set()
        go.wait(20)
        return "too late"

    try:
        async with Engine(None, [queue]) as engine:
            handle = await engine.submit(beats)
            for _ in range(4):  # more than a minute in all, but never half a minute without a beat
                assert await trio.to_thread.run_sync(lambda: beaten.acquire(timeout=10))
                leaping_clock.jump(20)
                on.release()
            assert await handle.result(timeout=10) == "lived"
            handle = await engine.submit(silent)
            await told(entered)
            leaping_clock.jump(30)
            task = await handle.wait(timeout=10)
            assert (task.state, task.failures) == ("failed", 1)
            go.set()
    finally:
        go.set()


# row 54
async def test_row_54_the_crash_budget_is_its_own_and_exact(autojump_clock: trio.testing.MockClock) -> None:
    lane, store = Lane(hang_until=99, retry=Retry(attempts=1, crashes=2)), MemoryStore()
    for _ in range(3):
        store = await lane.disk_at_death(store)
    async with Engine(None, [lane.queue], store=store, clock=TrioClock()) as engine:
        await engine.drain()
        (task,) = await engine.list()
    assert lane.runs == [1, 2, 3], "two crashes are forgiven, the third is not"
    assert (task.state, task.reason, task.failures, task.crashes, task.attempt) == ("failed", "crashes", 0, 3, 3)
    assert task.error is not None
    assert task.error.type == "ProcessCrashed"
    assert "3 of its runs" in task.error.message


# row 54
async def test_row_54_a_budget_of_none_never_runs_again(autojump_clock: trio.testing.MockClock) -> None:
    lane = Lane(hang_until=99, retry=Retry(crashes=0))
    store = await lane.disk_at_death(MemoryStore())
    async with Engine(None, [lane.queue], store=store, clock=TrioClock()) as engine:
        (task,) = await engine.list()
    assert (task.state, task.crashes, lane.runs) == ("failed", 1, [1])


# row 54
def test_row_54_a_poison_task_ends_with_evidence_and_its_bystanders_live(tmp_path: Path) -> None:
    """The poison ends the process with os._exit, with five innocent tasks running beside it, until its budget is spent."""
    codes = []
    while True:
        ended = Program("crash", tmp_path / "j").ended()
        codes.append(ended.code)
        if ended.code != 9 or len(codes) > 6:
            break
    assert codes == [9, 9, 9, 0], ended
    assert (
        "poison failed attempt=3 failures=0 crashes=3 reason=crashes error=ProcessCrashed: the process died during 3 of its runs"
        in ended.out
    )
    assert ended.out.count("bystander succeeded") == 5, ended.out
    assert "bystander succeeded attempt=3 failures=0 crashes=2" in ended.out, "at most as many losses as were forgiven"

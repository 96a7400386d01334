"""Actors that die: what the other queues notice of it (nothing), and who hears of a queue that was given up.

And what the supervisor does not restart: a disk that cannot be read.  Found by simulation (swarm seeds 1525, 1725).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.recorder import Recorder
from journeyman.engine import Engine, Handle, Queue, QueueBroken, State
from journeyman.journal.errors import JournalError
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Items, Table
from journeyman.kernel.events import AttemptReleased, AttemptStarted, QueueOpened, TaskSucceeded
from tests.acceptance.stores import events_in
from tests.acceptance.virtual import TrioClock


class Unreadable(MemoryStore):
    """Arguments cannot be read while `broken`, nor events while `torn`."""

    broken = torn = False

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        if self.broken and table is Table.PAYLOADS:
            raise JournalError("the disk does not read")
        return super().get_many(table, keys)

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        if self.torn:
            raise JournalError("the disk does not read")
        return super().scan(table, start, stop, reverse=reverse, limit=limit)


async def test_a_disk_that_cannot_be_read_ends_the_engine_and_is_no_bug_of_a_queue() -> None:
    queue, store = Queue("mail"), Unreadable()

    @queue.handler
    async def send(n: int) -> int:
        return n

    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("mail")
        handles = [await engine.submit(send, n) for n in range(3)]
    store.broken = True
    with pytest.raises(JournalError, match="does not read"):
        async with Engine("x", [queue], store=store) as engine:
            await engine.resume("mail")
            await engine.drain()
    store.broken = False
    async with Engine("x", [queue], store=store) as engine:
        await engine.resume("mail")  # the first one failed with its step
        await engine.drain()
        assert [(await engine.get(handle.id)).result for handle in handles] == [0, 1, 2]


# --- an actor that dies -----------------------------------------------------------------------------------------------


@contextmanager
def a_bug(queue: str, kind: type, nth: int = 1) -> Iterator[None]:
    """Every step of `queue` that records `nth` such events fails when it has applied the last."""
    take = Recorder.take

    def dies(self: Recorder, event: Any, step: Any) -> int:
        seq = take(self, event, step)
        if event.queue == queue and type(event) is kind and sum(type(one) is kind for _, one in step.items) == nth:
            raise RuntimeError("a bug")
        return seq

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "take", dies)
        yield


class Two:
    """Queue q, whose actor dies at each end of a task, and queue r beside it."""

    def __init__(self, **settings: Any) -> None:
        self.store = MemoryStore()
        self.q, self.r = Queue("q", concurrency=2), Queue("r")
        self.work, self.okay = self.q.handler(_work, name="work"), self.r.handler(_okay, name="okay")
        self.engine = Engine(None, [self.q, self.r], clock=TrioClock(), store=self.store, **settings)

    async def died(self, times: int) -> None:
        """Wait until q has been restarted, or given up, so often."""
        with trio.fail_after(60):
            while sum(isinstance(event, QueueOpened) and event.queue == "q" for event in events_in(self.store)) <= times:  # noqa: ASYNC110
                await trio.sleep(0.001)


async def _work(seconds: float = 0) -> None:
    await trio.sleep(seconds)


async def _okay() -> int:
    return 1


async def reasons(engine: Engine, handle: Handle[Any]) -> dict[str, str]:
    return {reason.kind: reason.text for reason in (await engine.explain(handle.id)).reasons}


async def test_other_queues_do_not_notice_the_pause_before_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    two = Two(max_concurrency=1)
    async with two.engine as engine:
        await engine.schedule("hourly", two.okay, every=3600)
        with a_bug("q", TaskSucceeded):
            handle = await engine.submit(two.work)
            await two.died(4)  # 5 s of pause lie ahead
            before = trio.current_time()
            [other] = await engine.submit_many([two.okay.bind()])
            assert await other.result() == 1, "the engine's one slot is free"
            assert [each.name for each in await engine.schedules("r")] == ["hourly"]
            assert await engine.preview("hourly", 1)
            assert await engine.prune(older_than=0, queue="r") == 1
            assert (await engine.stats())["q"].broken is False
            await engine.schedule("daily", two.okay, every=86_400)
            await engine.create_queue(Queue("third"))
            assert trio.current_time() - before < 0.1
            assert (await engine.get(handle.id)).state is State.PENDING, "what ran was given back"
            told = await reasons(engine, handle)
            assert list(told) == ["restarting"]
            assert "RuntimeError: a bug" in told["restarting"]
        await handle.result()
        assert 4.9 < trio.current_time() - before < 5.1
    assert sum(isinstance(event, AttemptReleased) for event in events_in(two.store)) == 4


async def test_what_comes_to_a_queue_in_its_pause_is_taken_up_after_it(autojump_clock: trio.testing.MockClock) -> None:
    two = Two()
    async with two.engine as engine:
        with a_bug("q", TaskSucceeded):
            await engine.submit(two.work)
            await two.died(4)
        before = trio.current_time()
        [together] = await engine.submit_many([two.work.bind()])
        assert trio.current_time() - before < 0.1
        alone = await engine.submit(two.work)
        assert 4.9 < trio.current_time() - before < 5.1
        await together.result()
        await alone.result()


async def test_a_stop_does_not_wait_for_the_pause(autojump_clock: trio.testing.MockClock) -> None:
    two = Two()
    async with two.engine as engine, trio.open_nursery() as nursery:
        with a_bug("q", TaskSucceeded):
            await engine.submit(two.work)
            await two.died(5)
        before = trio.current_time()
        nursery.start_soon(engine.submit, two.work)
        await trio.testing.wait_all_tasks_blocked()
        assert await engine.stop()
        assert trio.current_time() - before < 0.1


async def test_whoever_waits_for_a_task_of_a_queue_that_is_given_up_hears_of_it(autojump_clock: trio.testing.MockClock) -> None:
    two = Two(max_concurrency=1)
    heard: list[str] = []

    async def waits(ask: Callable[[], Any]) -> None:
        with pytest.raises(QueueBroken, match="queue 'q' was given up.*RuntimeError: a bug.*open the engine again"):
            await ask()
        heard.append("one")

    async with two.engine as engine:
        await engine.schedule("hourly", two.work, every=3600)
        with a_bug("q", TaskSucceeded):
            handle, behind = await engine.submit_many([two.work.bind(), two.work.bind()])
            dependent = await engine.submit(two.okay.using(after=[behind]))
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.deadline = trio.current_time() + 60
                for ask in (handle.wait, handle.result, behind.wait, lambda: engine.wait(handle.id)):
                    nursery.start_soon(waits, ask)
            assert len(heard) == 4
            before = trio.current_time()
            await waits(handle.wait)
            await waits(lambda: engine.wait(behind.id, timeout=5))
            await waits(lambda: engine.submit(two.work))
            for ask in (lambda: engine.pause("q"), lambda: engine.cancel(handle.id), lambda: engine.unschedule("hourly")):
                await waits(ask)
            for one in (handle, behind):
                assert (await engine.get(one.id)).state is State.PENDING
                told = await reasons(engine, one)
                assert list(told) == ["queue broken"]
                assert "queue 'q' was given up" in told["queue broken"]
            told = await reasons(engine, dependent)
            assert list(told) == ["queue broken", "waits for"]
            [schedule] = await engine.schedules()
            assert schedule.next_at is None
            assert "given up" in (schedule.reason or "")
            other = await engine.submit(two.okay)
            assert await other.result() == 1, "the engine's one slot is free"
            await engine.drain(timeout=5)
            assert await engine.stop()
            assert trio.current_time() - before < 0.1
    assert not [event for event in events_in(two.store) if isinstance(event, TaskSucceeded) and event.queue == "q"]
    async with Engine(None, [two.q, two.r], clock=TrioClock(), store=two.store) as engine:
        await engine.drain()
        assert {(await engine.get(one.id)).state for one in (handle, behind, dependent)} == {State.SUCCEEDED}


async def test_an_order_to_a_queue_that_was_given_up_takes_no_step(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever asked first of an idle engine took the step in passing, and tasks of the broken queue were started."""
    two = Two()
    async with two.engine as engine:
        with a_bug("q", TaskSucceeded):
            handle = await engine.submit(two.work)
            with pytest.raises(QueueBroken):
                await handle.wait(timeout=60)
        await trio.sleep(1)
        for _ in range(2):
            with pytest.raises(QueueBroken):
                await engine.reschedule(handle.id, delay=0)
        assert (await engine.get(handle.id)).state is State.PENDING
    assert sum(isinstance(event, AttemptStarted) and event.queue == "q" for event in events_in(two.store)) == 6


async def test_what_a_failed_step_was_about_to_start_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """Such an attempt has no handler that could ever end."""
    two = Two(grace=30)
    async with two.engine as engine:
        with a_bug("q", AttemptStarted, nth=2):
            handle, _ = await engine.submit_many([two.work.bind(), two.work.bind()])
            with pytest.raises(QueueBroken):
                await handle.wait(timeout=60)
        before = trio.current_time()
        await engine.drain(timeout=5)
        assert await engine.stop()
        assert trio.current_time() - before < 0.1


async def test_handlers_that_outlive_their_broken_queue_are_waited_for_and_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    two = Two()

    @two.q.handler
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    async with Engine(None, [two.q, two.r], clock=TrioClock()) as engine:
        with a_bug("q", TaskSucceeded):
            await engine.submit(stubborn)
            handle = await engine.submit(two.work)
            with pytest.raises(QueueBroken):
                await handle.wait(timeout=60)
        before = trio.current_time()
        await engine.drain(timeout=200)
        assert 50 < trio.current_time() - before < 101


async def test_a_bug_in_taking_charge_counts_as_a_death(autojump_clock: trio.testing.MockClock) -> None:
    """It used to end the engine."""
    two = Two()
    async with two.engine as engine:
        with a_bug("q", AttemptReleased):
            handle = await engine.submit(two.work, 1000)
            await trio.sleep(1)
            _actor(engine, "q").crash(RuntimeError("a bug"))
            with pytest.raises(QueueBroken):
                await handle.wait(timeout=60)
            assert (await engine.stats())["q"].broken
            assert (await engine.get(handle.id)).state is State.RUNNING, "what the journal says of it, until the next boot"
            assert list(await reasons(engine, handle)) == ["queue broken"]
        assert await (await engine.submit(two.okay)).result() == 1
        await engine.drain(timeout=5)
    async with Engine(None, [two.q, two.r], clock=TrioClock(), store=two.store) as engine:
        task = await engine.wait(handle.id)
        assert (task.state, task.crashes, task.failures) == (State.SUCCEEDED, 0, 0)


async def test_a_step_that_fails_in_a_queue_at_rest_or_given_up_leaves_no_doubt(autojump_clock: trio.testing.MockClock) -> None:
    """Steps of other queues reach into it (a schedule that moves, a task that is submitted with a success), and may fail."""
    two = Two()
    async with two.engine as engine:
        with a_bug("q", TaskSucceeded):
            handle = await engine.submit(two.work)
            await two.died(4)
            _actor(engine, "q").crash(RuntimeError("another queue's"))
            before = trio.current_time()
            await engine.stats()
            assert trio.current_time() - before < 0.1
            with pytest.raises(QueueBroken):
                await handle.wait(timeout=60)
            _actor(engine, "q").crash(RuntimeError("another queue's"))
            with trio.fail_after(1):
                assert (await engine.stats())["q"].broken
                assert (await engine.get(handle.id)).state is State.PENDING


async def test_who_waits_for_a_queue_in_doubt_hears_that_it_cannot_be_read(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever asks need not be in the engine's block, which ends with the engine."""
    queue, store = Queue("q"), Unreadable()
    told: list[BaseException] = []

    async def asks() -> None:
        try:
            await engine.stats()
        except JournalError as error:
            told.append(error)

    async with trio.open_nursery() as nursery:
        with trio.fail_after(60), pytest.raises(JournalError, match="does not read"):
            async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
                store.torn = True
                _actor(engine, "q").crash(RuntimeError("a bug"))
                nursery.start_soon(asks)
                await trio.sleep_forever()
        nursery.cancel_scope.deadline = trio.current_time() + 60
    assert len(told) == 1


def _actor(engine: Engine, queue: str) -> QueueActor:
    return engine._opened().shell.actors[queue]

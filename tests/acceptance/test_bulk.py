"""Orders about one task that waits, and about all that a filter names: issue 4's bulk control, and row 46."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing

from journeyman.engine import (
    Constant,
    Engine,
    NotRetryable,
    NotWaiting,
    Priority,
    Queue,
    QueueNotFound,
    Retention,
    Retry,
    State,
    TaskNotFound,
)
from journeyman.journal.memory_store import MemoryStore
from journeyman.kernel.events import TaskCancelled, TaskReprioritised, TaskRescheduled
from tests.acceptance.test_rows_01_05 import events_in
from tests.acceptance.virtual import TrioClock, until


def lanes() -> tuple[list[Queue], trio.Event, list[str]]:
    """Two queues whose handlers stay until the event is set; what ran, in order."""
    one, two, go, ran = Queue("one"), Queue("two", concurrency=2), trio.Event(), list[str]()

    @one.handler
    async def first(text: str) -> None:
        ran.append(text)
        await go.wait()

    @two.handler
    async def second(text: str) -> None:
        ran.append(text)
        await go.wait()

    return [one, two], go, ran


async def filled(engine: Engine, queues: list[Queue]) -> list[str]:
    """Six tasks of two owners in two queues, all waiting."""
    for queue in queues:
        await engine.pause(queue.name)
    first, second = queues[0].handlers["first"], queues[1].handlers["second"]
    items = [
        first.using(owner=("user", "7"), tags=("red",)).bind("a"),
        first.using(owner=("user", "8")).bind("b"),
        first.using(owner=("user", "7"), source="api", delay=500).bind("c"),
        second.using(owner=("user", "7")).bind("d"),
        second.using(key="k", tags=("red",)).bind("e"),
        second.bind("f"),
    ]
    return [handle.id for handle in await engine.submit_many(items)]


async def test_a_dry_run_counts_and_touches_nothing() -> None:
    queues, _, _ = lanes()
    store = MemoryStore()
    async with Engine("x", queues, store=store) as engine:
        await filled(engine, queues)
        before = len(list(events_in(store)))
        assert await engine.cancel_all(dry_run=True) == 6
        assert await engine.cancel_all(owner=("user", "7"), dry_run=True) == 3
        assert await engine.cancel_all("one", "scheduled", dry_run=True) == 1
        assert await engine.cancel_all(state=["failed", "succeeded"], dry_run=True) == 0
        assert await engine.reschedule_all(tag="red", delay=5, dry_run=True) == 2
        assert await engine.reprioritise_all(priority=Priority.NORMAL, dry_run=True) == 0, "they have it already"
        assert await engine.reprioritise_all(key="k", priority=9, dry_run=True) == 1
        assert await engine.retry_all(dry_run=True) == 0
        assert len(list(events_in(store))) == before


# row 46
async def test_cancel_by_filter_over_queues_with_by_and_reason() -> None:
    queues, go, _ = lanes()
    store = MemoryStore()
    async with Engine("x", queues, store=store) as engine:
        ids = await filled(engine, queues)
        assert await engine.cancel_all(owner=("user", "7"), reason="left us", by="ops") == 3
        assert {(await engine.get(ids[n])).state for n in (0, 2, 3)} == {State.CANCELLED}
        assert (await engine.get(ids[0])).reason == "left us"
        assert await engine.count(state="cancelled") == 3
        assert await engine.cancel_all(owner=("user", "7")) == 0
        await engine.resume("two")
        await until(lambda: running(engine, 2))
        assert await engine.cancel_all("two", running=False) == 0
        assert await engine.cancel_all("two", state="running") == 2
        assert await engine.cancel_all("two", dry_run=True) == 0, "they are told already"
        await engine.drain(timeout=5)
        assert await engine.count("two", "cancelled") == 3
        go.set()
    events = [event for event in events_in(store) if isinstance(event, TaskCancelled)]
    assert [(event.by, event.reason) for event in events][:3] == [("ops", "left us")] * 3


async def running(engine: Engine, n: int) -> bool:
    return await engine.count(state="running") == n


async def test_retry_by_filter_keeps_the_order_of_submission() -> None:
    queues, go, ran = lanes()
    async with Engine(None, queues) as engine:
        await filled(engine, queues)
        await engine.cancel_all()
        go.set()
        assert await engine.retry_all(None, "cancelled", tag="red") == 2
        assert await engine.retry_all("one", "cancelled", owner=("user", "7")) == 1
        for queue in queues:
            await engine.resume(queue.name)
        await engine.drain(timeout=5)
        assert [text for text in ran if text in "ac"] == ["a", "c"]
        assert await engine.count(state="cancelled") == 3
        with pytest.raises(NotRetryable):
            await engine.retry_all(state="succeeded")
        assert await engine.retry_all("one", state="cancelled") == 1


async def test_retry_passes_over_what_has_lost_its_arguments() -> None:
    queue = Queue("q", retention=Retention(payload=False))

    @queue.handler
    async def work() -> None:
        raise ValueError

    async with Engine(None, [queue]) as engine:
        await (await engine.submit(work)).wait(5)
        assert await engine.retry_all("q", dry_run=True) == await engine.retry_all("q") == 0


async def test_one_task_is_given_another_instant(autojump_clock: trio.testing.MockClock) -> None:
    queues, go, ran = lanes()
    go.set()
    first = queues[0].handlers["first"]
    async with Engine(None, queues, clock=TrioClock()) as engine:
        soon = await engine.submit(first.using(delay=1000), "soon")
        late = await engine.submit(first.using(delay=10), "late")
        await engine.reschedule(soon.id, delay=5, reason="urgent", by="ops")
        await engine.reschedule(late.id, at=(await engine.get(late.id)).submitted_at + timedelta(seconds=100))
        await trio.sleep(5.1)
        assert ran == ["soon"]
        await trio.sleep(90)
        assert ran == ["soon"]
        await trio.sleep(5)
        assert ran == ["soon", "late"]
        with pytest.raises(NotWaiting):
            await engine.reschedule(soon.id, delay=1)
        with pytest.raises(TaskNotFound):
            await engine.reschedule("0" * 32, delay=1)
        for bad in ({}, {"delay": 1, "at": datetime.now(UTC)}, {"at": datetime.now()}, {"delay": -1}):
            with pytest.raises(ValueError, match="delay|aware"):
                await engine.reschedule(late.id, **bad)  # type: ignore[arg-type]
        kinds = [event.kind for event in await engine.history(soon.id)]
        assert kinds == ["TaskSubmitted", "TaskRescheduled", "AttemptStarted", "TaskSucceeded"]


async def test_one_task_is_given_another_priority() -> None:
    queues, go, ran = lanes()
    store = MemoryStore()
    async with Engine("x", queues, store=store) as engine:
        ids = await filled(engine, queues)
        await engine.reprioritise(ids[1], Priority.URGENT, reason="she called", by="ops")
        assert (await engine.get(ids[1])).priority == 20
        with pytest.raises(ValueError, match="priority"):
            await engine.reprioritise(ids[1], 1 << 40)
        go.set()
    async with Engine("x", queues, store=store) as engine:
        await engine.resume("one")
        await until(lambda: has_run(ran, 2))
        assert ran == ["b", "a"], "over a restart too"
        with pytest.raises(NotWaiting):
            await engine.reprioritise(ids[1], 0)
    [event] = [event for event in events_in(store) if isinstance(event, TaskReprioritised)]
    assert (event.by, event.reason, event.priority) == ("ops", "she called", 20)


async def has_run(ran: list[str], n: int) -> bool:
    return len(ran) == n


async def test_many_are_moved_in_chunks_and_keep_their_order(autojump_clock: trio.testing.MockClock) -> None:
    queue, ran = Queue("q", concurrency=1), list[int]()

    @queue.handler
    async def work(n: int) -> None:
        ran.append(n)

    store = MemoryStore()
    async with Engine("x", [queue], store=store, clock=TrioClock()) as engine:
        await engine.submit_many([work.using(delay=1000 - n % 7).bind(n) for n in range(2500)])
        assert await engine.reschedule_all("q", delay=1, reason="sooner", by="ops") == 2500
        assert await engine.reprioritise_all("q", priority=9) == 2500
        await trio.sleep(2)
        await engine.drain()
        assert ran == sorted(ran)
        assert len(ran) == 2500
    moved = [event for event in events_in(store) if isinstance(event, TaskRescheduled)]
    assert {(event.by, event.reason) for event in moved} == {("ops", "sooner")}


async def test_a_backoff_is_cut_short(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", retry=Retry(attempts=2, backoff=Constant(3000), jitter=0))

    @queue.handler
    async def work() -> None:
        raise ValueError

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        handle = await engine.submit(work)
        await trio.sleep(1)
        assert await engine.reschedule_all(state="retrying", delay=0) == 1
        assert (await handle.wait(10)).failures == 2


async def test_a_namespace_orders_about_its_own() -> None:
    async with Engine(None) as engine:
        doors = [engine.namespace(name) for name in ("a", "b")]
        for door in doors:
            queues, _, _ = lanes()
            await door.create_queue(queues[0])
            await door.pause("one")
            await door.submit_many([("first", ("x",)) for _ in range(3)])
        [foreign, *_] = await doors[1].list()
        assert await doors[0].reprioritise_all(priority=1) == 3
        assert await doors[0].cancel_all(dry_run=True) == await doors[0].cancel_all() == 3
        assert await doors[1].count(state="pending") == 3
        for call in (doors[0].reschedule(foreign.id, delay=1), doors[0].reprioritise(foreign.id, 1)):
            with pytest.raises(TaskNotFound):
                await call
        with pytest.raises(QueueNotFound):
            await doors[0].cancel_all("two")
        assert await engine.cancel_all("b/one") == 3

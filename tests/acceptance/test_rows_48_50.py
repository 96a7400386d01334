"""Rows 48 to 50: retention, on time for readers and on disk; what is kept of a task; pruning by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from journeyman.engine import Engine, Fatal, NotRetryable, Queue, QueueNotFound, Retention, Task, TaskNotFound
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Table
from tests.acceptance.virtual import HandClock, TrioClock

MINUTE = 61.0  # after which housekeeping has been round
DAY = 86_400.0
FOREVER = Retention(succeeded=None, failed=None, cancelled=None, interrupted=None)


def lane(retention: Retention, name: str = "q") -> Queue:
    queue = Queue(name, concurrency=8, retention=retention)

    async def work(text: str, well: bool = True) -> str:
        for _ in range(20):  # so that whoever submitted it can begin to wait
            await trio.lowlevel.checkpoint()
        if not well:
            raise Fatal(text)
        return text * 2

    queue.handler(name=f"work in {name}")(work)
    return queue


async def ended(engine: Engine, how: str, name: str = "q", text: str = "x" * 1000) -> str:
    """The id of a task that has ended as `how` says."""
    target = f"work in {name}"
    if how == "cancelled":
        handle = await engine.submit(engine.handler(target, name).using(delay=DAY), text)
    else:
        handle = await engine.submit(target, text, well=how == "succeeded")
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            assert (await handle.wait(timeout=30)).state == how

        nursery.start_soon(watch)
        if how == "cancelled":
            await trio.testing.wait_all_tasks_blocked()
            await handle.cancel("not needed")
    return handle.id


# row 48
@pytest.mark.parametrize("settled", [False, True], ids=["in memory", "on disk"])
async def test_row_48_an_expired_task_is_invisible_exactly_on_time(settled: bool, autojump_clock: trio.testing.MockClock) -> None:
    clock = HandClock()
    kept = {"succeeded": 10.0, "failed": 20.0, "cancelled": 30.0}
    async with Engine(None, [lane(Retention(**kept))], clock=clock) as engine:
        ids = {how: await ended(engine, how) for how in kept}
        if settled:
            await trio.sleep(MINUTE)
        for how, seconds in kept.items():
            task = await engine.get(ids[how])
            assert task.expires_at is not None
            assert task.finished_at is not None
            assert (task.expires_at - task.finished_at).total_seconds() == seconds
        passed = 0.0
        for how, seconds in kept.items():
            clock.forward(seconds - passed - 0.000_001)
            passed = seconds - 0.000_001
            assert (await engine.get(ids[how])).state == how
            assert await engine.count(state=how) == len(await engine.list(state=how)) == 1
            assert (await engine.stats())["q"].counts[how] == 1  # type: ignore[index]
            clock.forward(0.000_001)
            passed = seconds
            asked: list[Callable[[str], Awaitable[Any]]] = [engine.get, engine.history, engine.explain, engine.cancel, engine.retry]
            for ask in asked:
                with pytest.raises(TaskNotFound):
                    await ask(ids[how])
            assert await engine.count(state=how) == len(await engine.list(state=how)) == 0
            assert (await engine.stats())["q"].counts[how] == 0  # type: ignore[index]


# row 48
async def test_row_48_housekeeping_deletes_what_expired_and_only_that(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore()
    queues = [lane(Retention(succeeded=90, failed=7 * DAY)), lane(FOREVER, "kept")]
    async with Engine(None, queues, store=store, clock=TrioClock()) as engine:
        gone = [await ended(engine, "succeeded") for _ in range(30)]
        failed = await ended(engine, "failed")
        kept = await ended(engine, "succeeded", "kept")
        await trio.sleep(MINUTE)
        assert (await engine.get(gone[0])).state == "succeeded"
        before = store.count(Table.EVENTS), store.count(Table.PAYLOADS)
        await trio.sleep(2 * MINUTE)
        assert store.count(Table.EVENTS) <= before[0] - 30 * 3 + 5
        assert store.count(Table.PAYLOADS) == before[1] - 30 * 2
        assert len({(await engine.get(id)).id for id in (failed, kept)}) == 2
        await trio.sleep(8 * DAY)
        assert [t.id for t in await engine.list()] == [kept]
    async with Engine(None, queues, store=store, clock=TrioClock()) as engine:
        assert [t.id for t in await engine.list()] == [kept]
        assert (await engine.get(kept)).result == "x" * 2000


# row 48
async def test_row_48_the_file_stops_growing(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    """Rounds of work, retention and restart: with everything kept the file would grow by some 50 MB."""
    path, sizes = tmp_path / "j", []
    for _ in range(120):
        async with Engine(path, [lane(Retention(succeeded=60, failed=60))], clock=TrioClock()) as engine:
            handler = engine.handler("work in q", "q")
            handles = await engine.submit_many([(handler, ("y" * 2000,))] * 100)
            for handle in handles:
                await handle.wait()
            mock_clock.jump(61)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                await engine.prune(older_than=1e9)  # queues behind the housekeeper: it has been round when this returns
        sizes.append((path / "data.mdb").stat().st_size)
    assert max(sizes[80:]) <= max(sizes[:60]) < 2_000_000, sizes  # boots and prunes fold into one record now and then


# row 49
async def test_row_49_nothing_kept_is_dropped_at_once_and_never_reaches_an_index(autojump_clock: trio.testing.MockClock) -> None:
    store, seen = MemoryStore(), []
    async with Engine(None, [lane(Retention(succeeded=0, failed=0, cancelled=0))], store=store, clock=TrioClock()) as engine:
        empty = store.count(Table.EVENTS)
        for how in ("succeeded", "failed", "cancelled"):
            seen.append(await ended(engine, how))  # whoever waits still hears how it ended
            with pytest.raises(TaskNotFound):
                await engine.get(seen[-1])
        assert await engine.count() == 0
        await trio.sleep(2 * MINUTE)
        assert store.count(Table.PAYLOADS) == store.count(Table.TASKS) == store.count(Table.BY_STATE) == 0
        assert store.count(Table.EVENTS) <= empty + 3
    async with Engine(None, [lane(FOREVER)], store=store, clock=TrioClock()) as engine:
        assert await engine.count() == 0


# row 49
async def test_row_49_only_failed_and_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    store, clock = MemoryStore(), HandClock()
    async with Engine(None, [lane(Retention(succeeded=0, cancelled=0, failed=None))], store=store, clock=clock) as engine:
        ids = {how: await ended(engine, how) for how in ("succeeded", "failed", "cancelled")}
        task = await engine.get(ids["failed"])
        assert task.expires_at is None
    clock.forward(50 * 365 * DAY)
    async with Engine(None, [lane(FOREVER)], store=store, clock=clock) as engine:
        await trio.sleep(2 * MINUTE)
        assert [t.id for t in await engine.list()] == [ids["failed"]]


# row 49
@pytest.mark.parametrize(
    ("retention", "payload_of", "result"),
    [
        (Retention(), {"succeeded", "failed", "cancelled"}, True),
        (Retention(payload=False), set(), True),
        (Retention(payload="failed"), {"failed"}, True),
        (Retention(result=False), {"succeeded", "failed", "cancelled"}, False),
    ],
)
async def test_row_49_arguments_and_results_are_dropped_as_the_policy_says(
    retention: Retention, payload_of: set[str], result: bool
) -> None:
    store = MemoryStore()

    def check(how: str, task: Task) -> None:
        assert (task.payload is not None) == (how in payload_of)
        assert task.result == ("zz" if result and how == "succeeded" else None)

    async with Engine(None, [lane(retention)], store=store) as engine:
        ids = {how: await ended(engine, how, text="z") for how in ("succeeded", "failed", "cancelled")}
        for how, id in ids.items():
            check(how, await engine.get(id))
        assert store.count(Table.PAYLOADS) == len(payload_of) + result
    async with Engine(None, [lane(retention)], store=store) as engine:
        for how, id in ids.items():
            check(how, await engine.get(id))
        if "failed" not in payload_of:
            with pytest.raises(NotRetryable):
                await engine.retry(ids["failed"])
        else:
            await engine.retry(ids["failed"])
            await engine.drain(timeout=5)
            assert (await engine.get(ids["failed"])).attempt == 2


# row 49
async def test_row_49_the_id_of_a_task_whose_arguments_were_dropped_still_tells_duplicates() -> None:
    from journeyman.engine import DuplicateTask

    id = "01890000-0000-7000-8000-00000000000a"
    async with Engine(None, [lane(Retention(payload=False))]) as engine:
        target = engine.handler("work in q", "q").using(id=id)
        assert (await (await engine.submit(target, "a")).wait(timeout=5)).payload is None
        assert (await engine.submit(target, "a")).id == id
        with pytest.raises(DuplicateTask):
            await engine.submit(target, "b")
        assert await engine.count() == 1


# row 50
async def test_row_50_prune_by_hand_returns_the_count(autojump_clock: trio.testing.MockClock) -> None:
    store, queues = MemoryStore(), [lane(FOREVER), lane(FOREVER, "other")]
    async with Engine(None, queues, store=store, clock=TrioClock()) as engine:
        old = [await ended(engine, how) for how in ("succeeded", "succeeded", "cancelled", "failed")]
        elsewhere = await ended(engine, "succeeded", "other")
        await trio.sleep(100)  # these are on disk now
        young = await ended(engine, "succeeded")
        waits = await engine.submit(engine.handler("work in q", "q").using(delay=DAY), "w")
        assert await engine.prune(older_than=1000) == 0
        assert await engine.prune(older_than=50, queue="q") == 3
        assert {t.id for t in await engine.list()} == {old[3], elsewhere, young, waits.id}
        assert await engine.prune(older_than=50, states=["failed"]) == 1
        assert await engine.prune(older_than=0) == 2
        assert [t.id for t in await engine.list()] == [waits.id]
        assert await engine.prune(older_than=0) == 0
        assert store.count(Table.PAYLOADS) == 1
        with pytest.raises(ValueError, match="only ended tasks"):
            await engine.prune(states=["running"])
        with pytest.raises(QueueNotFound):
            await engine.prune(queue="nowhere")
    async with Engine(None, queues, store=store, clock=TrioClock()) as engine:
        assert [t.id for t in await engine.list()] == [waits.id]
        for id in (*old, elsewhere, young):
            with pytest.raises(TaskNotFound):
                await engine.get(id)

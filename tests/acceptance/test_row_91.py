"""Row 91: unique keys and debounce, through the public door."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from journeyman.engine import (
    Constant,
    Context,
    DuplicateTask,
    Engine,
    NotRetryable,
    Queue,
    QueueFull,
    Retention,
    Retry,
    State,
    TaskCancelled,
    TaskNotFound,
)
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import fold_everything, recover
from journeyman.journal.store import Table
from tests.acceptance.stores import WatchedStore
from tests.acceptance.virtual import TrioClock


def recording(**policy: Any) -> tuple[Queue, list[Any]]:
    """A queue whose one handler, `note`, writes down its argument and returns it; "fail" fails."""
    queue, told = Queue("q", **policy), list[Any]()

    @queue.handler
    async def note(what: Any) -> Any:
        told.append(what)
        if what == "fail":
            raise ValueError(what)
        return what

    return queue, told


def logical(store: MemoryStore) -> bool:
    """Whether what is recovered is the fold of everything."""
    again = recover(store)
    return {name: queue.facts() for name, queue in again.state.queues.items()} == {
        name: queue.facts() for name, queue in fold_everything(again.journal).queues.items()
    }


# row 91
async def test_row_91_return_answers_with_the_task_that_has_the_key() -> None:
    queue, told = recording()
    note = queue.handlers["note"]
    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        first = await engine.submit(note.using(unique="k"), 1)
        again = await engine.submit(note.using(unique="k"), 2)
        other = await engine.submit(note.using(unique="other"), 3)
        many = await engine.submit_many([note.using(unique="k").bind(4), note.bind(5), note.using(unique="n").bind(6)] * 2)
        assert again.id == first.id != other.id
        assert many[0].id == many[3].id == first.id
        assert many[2].id == many[5].id
        assert len({handle.id for handle in many}) == 4
        assert (await engine.get(first.id)).unique == "k"
        assert [task.id for task in await engine.list(unique="k")] == [first.id]
        assert await engine.count(unique="n") == 1
        await engine.resume("q")
        assert await again.result() == 1
        assert (await engine.submit(note.using(unique="k"), 7)).id != first.id
        await engine.drain(timeout=5)
    assert told == [1, 3, 5, 6, 5, 7]


# row 91
async def test_row_91_raise_and_replace() -> None:
    queue, told = recording()
    note = queue.handlers["note"]
    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        first = await engine.submit(note.using(unique="k"), 1)
        with pytest.raises(DuplicateTask, match="'k' is taken by task"):
            await engine.submit(note.using(unique="k", on_conflict="raise"), 2)
        with pytest.raises(DuplicateTask):  # all or none
            await engine.submit_many([note.bind("no"), note.using(unique="k", on_conflict="raise").bind(2)])
        second = await engine.submit(note.using(unique="k", on_conflict="replace"), 2)
        with pytest.raises(TaskCancelled, match="replaced"):
            await first.result()
        third, fourth = await engine.submit_many([note.using(unique="k", on_conflict="replace").bind(n) for n in (3, 4)])
        assert [(await handle.wait()).reason for handle in (second, third)] == ["replaced", "replaced"]
        await engine.resume("q")
        assert await fourth.result() == 4
    assert told == [4]


# row 91
async def test_row_91_one_refusal_refuses_a_whole_batch_though_another_item_replaced_a_task() -> None:
    queue, _ = recording()
    note = queue.handlers["note"]
    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        first, taken = await engine.submit(note.using(unique="a"), 1), await engine.submit(note.using(unique="b"), 2)
        with pytest.raises(DuplicateTask):
            await engine.submit_many(
                [note.using(unique="a", on_conflict="replace").bind(3), note.using(unique="b", on_conflict="raise").bind(4)]
            )
        assert [(await engine.get(handle.id)).state for handle in (first, taken)] == [State.PENDING, State.PENDING]
        assert await engine.count() == 2


# row 91
async def test_row_91_what_runs_is_never_replaced_and_a_retry_is_not_blocked_by_its_own_key(autojump_clock: trio.testing.MockClock) -> None:
    queue = Queue("q", retry=Retry(attempts=3, backoff=Constant(60), jitter=0))
    inside, go = trio.Event(), trio.Event()

    @queue.handler
    async def work(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise ValueError
        inside.set()
        await go.wait()
        return ctx.attempt

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        first = await engine.submit(work.using(unique="k"))
        await inside.wait()
        with pytest.raises(DuplicateTask, match="running and cannot be replaced"):
            await engine.submit(work.using(unique="k", on_conflict="replace"))
        later = await engine.submit(work.using(unique="k", unique_states=["scheduled", "pending"], delay=60))
        assert later.id != first.id
        go.set()
        assert await first.result() == 3


# row 91
async def test_row_91_every_end_but_a_success_with_unique_for_frees_the_key(autojump_clock: trio.testing.MockClock) -> None:
    queue, _ = recording()
    note = queue.handlers["note"].using(unique="k", unique_for=100)
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        failed = await engine.submit(note, "fail")
        assert (await failed.wait()).state is State.FAILED
        cancelled = await engine.submit(note.using(delay=50), 1)
        await cancelled.cancel()
        done = await engine.submit(note, 2)
        assert failed.id != cancelled.id != done.id
        assert await done.result() == 2
        assert [reason.kind for reason in (await engine.explain(done.id)).reasons] == ["ended", "unique key taken"]
        await trio.sleep(99)
        assert (await engine.submit(note, 3)).id == done.id
        with pytest.raises(DuplicateTask, match="has succeeded"):
            await engine.submit(note.using(on_conflict="raise"), 3)
        await trio.sleep(2)
        assert (await engine.submit(note, 4)).id != done.id


# row 91
async def test_row_91_a_kept_key_survives_prune_settling_and_restarts(autojump_clock: trio.testing.MockClock) -> None:
    queue, _ = recording(retention=Retention(succeeded=10))
    note, store, clock = queue.handlers["note"].using(unique="k", unique_for=10_000), MemoryStore(), TrioClock()
    async with Engine("x", [queue], store=store, clock=clock) as engine:
        done = await engine.submit(note, 1)
        await done.result()
        await trio.sleep(200)  # housekeeping has pruned it
        with pytest.raises(TaskNotFound):
            await engine.get(done.id)
    assert logical(store)
    async with Engine("x", [queue], store=store, clock=clock) as engine:
        assert (await engine.submit(note, 2)).id == done.id
        with pytest.raises(TaskNotFound):
            await (await engine.submit(note, 2)).wait()
        await trio.sleep(9_000)
    assert logical(store)
    async with Engine("x", [queue], store=store, clock=clock) as engine:
        assert (await engine.submit(note, 2)).id == done.id
        await trio.sleep(1_000)
        assert (await engine.submit(note, 3)).id != done.id


# row 91
async def test_row_91_a_prune_by_hand_gives_a_kept_key_up() -> None:
    queue, _ = recording()
    note, store = queue.handlers["note"].using(unique="k", unique_for=10_000), MemoryStore()
    async with Engine("x", [queue], store=store) as engine:
        done = await engine.submit(note, 1)
        await done.result()
        assert await engine.prune(0) == 1
        assert (await engine.submit(note.using(delay=100), 2)).id != done.id
    assert logical(store)


# row 91
async def test_row_91_ids_and_keys() -> None:
    queue, told = recording()
    note, mine, yours = queue.handlers["note"], str(uuid4()), str(uuid4())
    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        first = await engine.submit(note.using(unique="k", id=mine), 1)
        assert first.id == mine
        assert (await engine.submit(note.using(unique="elsewhere", id=mine), 1)).id == mine  # the id comes first
        assert (await engine.submit(note.using(unique="k", id=yours), 1)).id == mine  # and `yours` stays unused
        with pytest.raises(TaskNotFound):
            await engine.get(yours)
        with pytest.raises(DuplicateTask, match="other arguments"):
            await engine.submit(note.using(unique="k", id=mine), 2)
        with pytest.raises(DuplicateTask, match="unique key"):
            await engine.submit(note.using(unique="k", id=yours, on_conflict="raise"), 1)
        assert (await engine.submit(note.using(id=yours), 3)).id == yours
        await engine.resume("q")
        await engine.drain(timeout=5)
        assert (await engine.submit(note.using(unique="k", id=mine), 1)).id == mine  # ended, and not run again
    assert told == [1, 3]


# row 91
async def test_row_91_retry_by_hand_does_not_make_two_of_a_key() -> None:
    queue, _ = recording()
    note = queue.handlers["note"].using(unique="k")
    async with Engine(None, [queue]) as engine:
        failed = [await engine.submit(note, "fail") for _ in range(2) if not await engine.drain(timeout=5)]  # type: ignore[func-returns-value]
        await engine.drain(timeout=5)
        await engine.pause("q")
        assert len({handle.id for handle in failed}) == 2
        standing = await engine.submit(note, 1)
        with pytest.raises(NotRetryable, match="'k'"):
            await engine.retry(failed[0].id)
        await standing.cancel()
        assert await engine.retry_all("q") == 1


# row 91
async def test_row_91_from_inside_a_handler() -> None:
    queue, told = recording(concurrency=4, max_pending=50)
    note = queue.handlers["note"]
    seen: dict[str, Any] = {}
    go, inside = trio.Event(), trio.Event()

    @queue.handler
    async def parent(ctx: Context) -> None:
        seen["standing"] = ctx.submit(note.using(unique="standing"), "not wanted")
        seen["mine"] = [ctx.submit(note.using(unique="mine"), n) for n in (1, 2)]
        seen["late"] = ctx.submit(note.using(unique="late"), 3)
        seen["moved"] = [ctx.submit(note.using(unique="moved", debounce=0.01), n) for n in (4, 5)]
        with pytest.raises(DuplicateTask):
            ctx.submit(note.using(unique="standing", on_conflict="raise"), 6)
        inside.set()
        await go.wait()

    async with Engine(None, [queue]) as engine:
        standing = await engine.submit(note.using(unique="standing", delay=1000), "standing")
        made = await engine.submit(parent)
        await inside.wait()
        assert seen["standing"].id == standing.id
        assert seen["mine"][0].id == seen["mine"][1].id
        late = await engine.submit(note.using(unique="late", delay=1000), "came between")
        go.set()
        await made.wait()
        await engine.drain(timeout=5)
        assert seen["late"].id == late.id
        assert (await seen["mine"][1].wait()).result == 1
        assert seen["moved"][0].id == seen["moved"][1].id
        assert await seen["moved"][1].result() == 5
        assert engine._session is not None
        assert engine._session.shell.actors["q"].reserved == 0
    assert sorted(told) == [1, 5]


# row 91
async def test_row_91_the_handle_of_another_ones_task_hears_its_end_though_it_is_dropped_at_once() -> None:
    queue = Queue("q", retention=Retention(succeeded=0))
    go = trio.Event()

    @queue.handler
    async def work() -> str:
        await go.wait()
        return "done"

    async with Engine(None, [queue]) as engine:
        await engine.submit(work.using(unique="k"))
        one = await engine.submit(work.using(unique="k"))
        [many] = await engine.submit_many([work.using(unique="k").bind()])
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [await one.result(), await many.result()] == ["done", "done"]


# --- debounce ---------------------------------------------------------------------------------------------------------------


# row 91
async def test_row_91_debounce_runs_once_with_the_latest_arguments(autojump_clock: trio.testing.MockClock) -> None:
    queue, told = recording()
    save = queue.handlers["note"].using(unique="doc 7", debounce=10, max_wait=25)
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        began = trio.current_time()
        handles = []
        for n in range(4):
            handles.append(await engine.submit(save, n))
            await trio.sleep(4)
        assert len({handle.id for handle in handles}) == 1
        [reason] = (await engine.explain(handles[0].id)).reasons
        assert (reason.kind, "unless another debounced submit" in reason.text) == ("not due", True)
        assert (await engine.get(handles[0].id)).payload == ([3], {})
        assert await handles[0].result() == 3
        assert trio.current_time() - began == pytest.approx(12 + 10, abs=0.01)
        began = trio.current_time()
        for n in range(10):
            await engine.submit(save, n)
            await trio.sleep(3)
        assert told == [3, 8]  # at 25 s, whatever came; the last one made a new task
        kinds = [event.kind for event in await engine.history(handles[0].id)]
        assert kinds == ["TaskSubmitted", "TaskRescheduled", "TaskRescheduled", "TaskRescheduled", "AttemptStarted", "TaskSucceeded"]


# row 91
async def test_row_91_the_latest_arguments_survive_restarts_and_the_old_ones_are_gone(tmp_path: Path) -> None:
    queue, told = recording()
    save, store = queue.handlers["note"].using(unique="k", debounce=1000), MemoryStore()
    async with Engine("x", [queue], store=store) as engine:
        handle = await engine.submit(save, "first")
        await engine.submit(save, "x" * 10_000)
        assert engine._session is not None
        await engine._session.runtime.snapshotter.take()
        await engine.submit(save, "last")
        await engine.submit(save.using(id=handle.id), "first")  # the same submit again, after others moved it
    assert len(store.scan(Table.PAYLOADS, limit=10)) == 1
    assert logical(store)
    async with Engine("x", [queue], store=store) as engine:
        assert (await engine.get(handle.id)).payload == (["last"], {})
        await engine.cancel(handle.id)
        await engine.retry(handle.id)
        await engine.drain(timeout=5)
        assert (await engine.get(handle.id)).result == "last"
        assert await engine.prune(0) == 1
    assert store.scan(Table.PAYLOADS, limit=10) == []
    assert told == ["last"]


# row 91
async def test_row_91_arguments_dropped_at_the_end_are_the_latest_ones_too() -> None:
    queue, _ = recording(retention=Retention(payload=False))
    save, store = queue.handlers["note"].using(unique="k", debounce=0.001), MemoryStore()
    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("q")
        first, second = await engine.submit_many([save.bind(1), save.bind(2)])
        assert first.id == second.id
        await engine.resume("q")
        assert await first.result() == 2
    assert len(store.scan(Table.PAYLOADS, limit=10)) == 1  # the result


# row 91
async def test_row_91_a_move_is_one_commit_and_answered_after_it() -> None:
    queue, _ = recording()
    save, store = queue.handlers["note"].using(unique="k", debounce=1000), WatchedStore()
    async with Engine("x", [queue], store=store) as engine:
        await engine.submit(save, 1)
        store.commits.clear()
        store.hold = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.submit, save, 2)
            await trio.testing.wait_all_tasks_blocked()
            assert store.held == 1
            assert len(nursery.child_tasks) == 1
            store.release()
        assert store.commits == [1]


# row 91
async def test_row_91_a_debounce_needs_no_room() -> None:
    queue, _ = recording(max_pending=1)
    save = queue.handlers["note"].using(unique="k", debounce=1000)
    async with Engine(None, [queue]) as engine:
        await engine.submit(save, 1)
        await engine.submit(save, 2)
        with pytest.raises(QueueFull):
            await engine.submit(queue.handlers["note"], 3)


# row 91
@pytest.mark.parametrize(
    "options",
    [
        {"unique": ""}, {"unique": "a\x00b"}, {"on_conflict": "raise"}, {"unique": "k", "on_conflict": "ignore"}, {"unique_for": 5},
        {"unique": "k", "unique_for": 0}, {"unique_states": ["pending"]}, {"unique": "k", "unique_states": []},
        {"unique": "k", "unique_states": ["succeeded"]}, {"unique": "k", "unique_states": "pending"}, {"debounce": 5},
        {"unique": "k", "debounce": 0}, {"unique": "k", "max_wait": 5}, {"unique": "k", "debounce": 5, "delay": 5},
        {"unique": "k", "debounce": 5, "on_conflict": "replace"}, {"unique": "k", "debounce": 5, "unique_for": 5},
    ],
    ids=str,
)  # fmt: skip
def test_row_91_options_that_mean_nothing_are_refused_at_once(options: Mapping[str, Any]) -> None:
    queue, _ = recording()
    with pytest.raises(ValueError, match="unique|debounce|conflict|max_wait|delay"):
        queue.handlers["note"].using(**options)

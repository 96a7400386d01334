"""Row 92: dependencies, through the public door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import trio

from journeyman.engine import Context, Engine, Fatal, Handle, Queue, Retention, State, TaskNotFound
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import fold_everything, recover
from journeyman.kernel.events import DependencyMet, TaskCancelled, TaskSubmitted
from tests.acceptance.stores import WatchedStore, events_in
from tests.acceptance.virtual import TrioClock


def recording(*names: str, told: list[Any] | None = None, **policy: Any) -> tuple[list[Queue], list[Any]]:
    """Queues whose handler `<name>.note` writes down its argument; "fail" fails."""
    told = [] if told is None else told
    queues = []

    def registered(queue: Queue) -> None:
        @queue.handler(name=f"{queue.name}.note")
        async def note(what: Any) -> Any:
            told.append(what)
            if what == "fail":
                raise Fatal(what)
            return what

    for name in names or ("q",):
        queues.append(Queue(name, **{"concurrency": 100, **policy}))
        registered(queues[-1])
    return queues, told


def handler(queue: Queue) -> Any:
    return queue.handlers[f"{queue.name}.note"]


async def ends(handles: list[Handle[Any]]) -> list[State]:
    return [(await handle.wait(5)).state for handle in handles]


# row 92
async def test_row_92_runs_after_all_it_names_in_whatever_queue_and_shows_what_it_waits_for() -> None:
    (a, b), told = recording("a", "b")
    async with Engine(None, [a, b]) as engine:
        await engine.pause("a")
        one, two = await engine.submit(handler(a), "one"), await engine.submit(handler(b), "two")
        last = await engine.submit(handler(b).using(after=[one, two.id, await engine.get(one.id)]), "last")
        await two.wait()
        task = await engine.get(last.id)
        assert (task.state, task.after, task.waits_for) == (State.PENDING, (one.id, two.id), (one.id,))
        [reason] = (await engine.explain(last.id)).reasons
        assert (reason.kind, reason.text) == ("waits for", f"it runs after {one.id}")
        await engine.drain(timeout=5)  # it cannot move by itself
        await engine.resume("a")
        assert await last.result(5) == "last"
        assert (await engine.get(last.id)).waits_for == ()
    assert told == ["two", "one", "last"]


# row 92
async def test_row_92_tasks_that_have_ended_already() -> None:
    (queue,), told = recording()
    note = handler(queue)
    async with Engine(None, [queue]) as engine:
        good, bad = await engine.submit(note, 1), await engine.submit(note, "fail")
        await ends([good, bad])
        assert await (await engine.submit(note.using(after=[good]), 2)).result(5) == 2
        late = await engine.submit(note.using(after=[good, bad]), 3)
        assert (await late.wait(5)).reason == f"dependency {bad.id} failed"
        assert await (await engine.submit(note.using(after=[bad], after_failure="run"), 4)).result(5) == 4
        assert await engine._session.runtime.snapshotter.take()  # type: ignore[union-attr]
        assert await (await engine.submit(note.using(after=[good]), 5)).result(5) == 5  # settled
    assert told == [1, "fail", 2, 4, 5]


# row 92
async def test_row_92_unknown_tasks_are_refused() -> None:
    (queue,), _ = recording(retention=Retention(succeeded=0))
    note = handler(queue)
    async with Engine(None, [queue]) as engine:
        for unknown in (str(uuid4()), (await engine.submit(note, 1)).id):
            await engine.drain(timeout=5)
            with pytest.raises(TaskNotFound, match="to run after"):
                await engine.submit(note.using(after=[unknown]), 2)
            with pytest.raises(TaskNotFound, match="earlier"):
                await engine.submit_many([note.bind(3), note.using(after=[unknown]).bind(4)])
        assert await engine.count() == 0


# row 92
@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_row_92_a_failure_cancels_all_that_follow_or_runs_them(end: str) -> None:
    (a, b), told = recording("a", "b")
    async with Engine(None, [a, b]) as engine:
        await engine.pause("a")
        first = await engine.submit(handler(a), "fail")
        second = await engine.submit(handler(b).using(after=[first]), "second")
        third = await engine.submit(handler(a).using(after=[second]), "third")
        anyway = await engine.submit(handler(b).using(after=[third], after_failure="run"), "anyway")
        if end == "cancelled":
            await first.cancel("not wanted")
        await engine.resume("a")
        assert await ends([second, third, anyway]) == [State.CANCELLED, State.CANCELLED, State.SUCCEEDED]
        assert (await second.wait()).reason == f"dependency {first.id} {end}"
        assert (await third.wait()).reason == f"dependency {second.id} cancelled"
        await engine.retry(second.id)  # clears what it waited for
        assert (await wait_until(engine, second.id)).result == "second"
    assert told == (["fail"] if end == "failed" else []) + ["anyway", "second"]


async def wait_until(engine: Engine, id: str) -> Any:
    await engine.drain(timeout=5)
    return await engine.get(id)


# row 92
async def test_row_92_in_one_submit_many_by_place_by_call_by_id_and_across_queues() -> None:
    (a, b), told = recording("a", "b", concurrency=1)
    note, other, mine = handler(a), handler(b), str(uuid4())
    async with Engine(None, [a, b]) as engine:
        first = note.bind(1)
        items = [
            first,
            other.using(after=[0]).bind(2),
            note.using(after=[first, 1], id=mine).bind(3),
            other.using(after=[mine]).bind(4),
            (note.using(after=[3, 0]), (5,), {}),
        ]
        handles = await engine.submit_many(items)
        assert await ends(handles) == [State.SUCCEEDED] * 5
        assert (await engine.get(handles[4].id)).after == (handles[3].id, handles[0].id)
    assert told == [1, 2, 3, 4, 5]


# row 92
@pytest.mark.parametrize("broken", ["itself", "later", "later call", "later id", "negative", "alone", "call alone"])
async def test_row_92_no_cycle_can_be_said(broken: str) -> None:
    (queue,), told = recording()
    note, mine = handler(queue), str(uuid4())
    other = note.bind(9)
    many: dict[str, Callable[[], list[Any]]] = {
        "itself": lambda: [note.using(after=[0]).bind(1)],
        "later": lambda: [note.using(after=[1]).bind(1), note.bind(2)],
        "later call": lambda: [note.using(after=[other]).bind(1), other],
        "later id": lambda: [note.using(after=[mine]).bind(1), note.using(id=mine).bind(2)],
        "negative": lambda: [note.bind(1), note.using(after=[-1]).bind(2)],
    }
    async with Engine(None, [queue]) as engine:
        with pytest.raises((ValueError, TaskNotFound), match=r"earlier|place"):
            if broken in many:
                await engine.submit_many(many[broken]())
            else:
                await engine.submit(note.using(after=[other if broken == "call alone" else 0]), 1)
        assert await engine.count() == 0
    assert told == []


# row 92
@pytest.mark.parametrize("after", ["abc", 5, [None], [True], [b"x"], ["no uuid"], [1.5]], ids=repr)
def test_row_92_what_names_no_task_is_refused_at_once(after: Any) -> None:
    (queue,), _ = recording()
    with pytest.raises((TypeError, ValueError)):
        handler(queue).using(after=after)
    with pytest.raises(ValueError, match="after"):
        handler(queue).using(after_failure="run")


# row 92
async def test_row_92_names_follow_a_taken_unique_key() -> None:
    (queue,), told = recording()
    note = handler(queue)
    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        standing = await engine.submit(note.using(unique="k"), "standing")
        one, two, three = await engine.submit_many(
            [note.using(unique="k").bind("not wanted"), note.using(after=[0]).bind("two"), note.using(after=[1, 0]).bind("three")]
        )
        assert one.id == standing.id
        assert (await engine.get(two.id)).waits_for == (standing.id,)
        assert (await engine.get(three.id)).after == (two.id, standing.id)
        await engine.resume("q")
        await three.result(5)
    assert told == ["standing", "two", "three"]


# row 92
async def test_row_92_one_that_was_replaced_or_given_again_in_the_same_batch() -> None:
    (queue,), told = recording()
    note, mine = handler(queue), str(uuid4())
    async with Engine(None, [queue]) as engine:
        done = await engine.submit(note.using(id=mine), "done")
        await done.wait()
        again, follows = await engine.submit_many([note.using(id=mine).bind("done"), note.using(after=[0]).bind("follows")])
        assert again.id == mine
        assert await follows.result(5) == "follows"
        await engine.pause("q")
        replaced, cancelled, stays = await engine.submit_many([
            note.using(unique="k").bind(1), note.using(after=[0]).bind(2), note.using(unique="k", on_conflict="replace").bind(3),
        ])  # fmt: skip
        late = await engine.submit_many([
            note.using(unique="m").bind(4), note.using(unique="m", on_conflict="replace").bind(5), note.using(after=[0]).bind(6),
        ])  # fmt: skip
        await engine.resume("q")
        assert await ends([replaced, cancelled, stays]) == [State.CANCELLED, State.CANCELLED, State.SUCCEEDED]
        assert await ends(late) == [State.CANCELLED, State.SUCCEEDED, State.CANCELLED]
    assert told[:2] == ["done", "follows"]
    assert sorted(told[2:]) == [3, 5]


# row 92
async def test_row_92_from_inside_a_handler() -> None:
    (queue,), told = recording()
    note = handler(queue)
    made: list[Handle[Any]] = []

    @queue.handler
    async def parent(ctx: Context) -> None:
        first = ctx.submit(note, 1)
        second = ctx.submit(note.using(after=[first]), 2)
        made.extend([first, second, ctx.submit(note.using(after=[second, first.id]), 3)])
        with pytest.raises(TaskNotFound):
            ctx.submit(note.using(after=[str(uuid4())]), 4)
        assert not told

    async with Engine(None, [queue]) as engine:
        await (await engine.submit(parent)).wait(5)
        assert await ends(made) == [State.SUCCEEDED] * 3
    assert told == [1, 2, 3]


# row 92
async def test_row_92_the_next_of_a_queue_starts_in_the_commit_of_the_end() -> None:
    (queue,), _ = recording()
    note, store = handler(queue), WatchedStore()
    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("q")
        handles = await engine.submit_many([note.bind(1), note.using(after=[0]).bind(2)])
        store.commits.clear()
        await engine.resume("q")
        await ends(handles)
    assert store.commits[:3] == [2, 3, 1]  # resumed and started; succeeded, met and started; succeeded


# row 92
@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("queues", [1, 2])
async def test_row_92_a_chain_of_ten_thousand(bad: bool, queues: int) -> None:
    made, told = recording(*"ab"[:queues], retention=Retention(succeeded=None))
    notes, store = [handler(queue) for queue in made], MemoryStore()
    length = 10_000 if queues == 1 or bad else 1_000
    async with Engine("x", made, store=store) as engine:
        for queue in made:
            await engine.pause(queue.name)
        items = [notes[0].bind("fail" if bad else 0)]
        items += [notes[n % queues].using(after=[n - 1]).bind(n) for n in range(1, length)]
        handles = await engine.submit_many(items)
        for queue in made:
            await engine.resume(queue.name)
        assert (await handles[-1].wait(60)).state is (State.CANCELLED if bad else State.SUCCEEDED)
    assert told == (["fail"] if bad else list(range(length)))
    sound(store)


def sound(store: MemoryStore) -> None:
    """What is recovered is the fold of everything, and waits for nothing."""
    again = recover(store)
    whole = fold_everything(again.journal)
    assert all(not queue.waits.on for queue in whole.queues.values())
    for name, queue in again.state.queues.items():
        assert queue.facts() == whole.queues[name].facts()
        assert not queue.waits.on
        assert all(task.row() == whole.queues[name].tasks[task.id].row() for task in queue.tasks.values())


# row 92
@pytest.mark.parametrize("bad", [False, True])
async def test_row_92_a_fan_of_ten_thousand_out_and_in_again(bad: bool) -> None:
    made, told = recording("a", "b", "c")
    a, b, c = map(handler, made)
    store = WatchedStore()
    async with Engine("x", made, store=store) as engine:
        await engine.pause("a")
        source = await engine.submit(a, "fail" if bad else "source")
        fan = await engine.submit_many([b.using(after=[source]).bind(n) for n in range(10_000)])
        sink = await engine.submit(c.using(after=fan), "sink")
        assert len((await engine.get(sink.id)).waits_for) == 10_000
        await engine.resume("a")
        assert (await sink.wait(60)).state is (State.CANCELLED if bad else State.SUCCEEDED)
        if bad:
            assert await engine.count(state="cancelled") == 10_001
    assert told == ["fail"] if bad else (told[0] == "source" and told[-1] == "sink" and len(told) == 10_002)
    sound(store)


# row 92
async def test_row_92_a_crash_between_an_end_and_its_news_loses_nothing() -> None:
    """The journal is cut after each of its records in turn: whatever is left, the next boot goes on from there."""
    made, _ = recording("a", "b", "c")
    a, b, c = map(handler, made)
    store = MemoryStore()
    async with Engine("x", made, store=store) as engine:
        await engine.pause("a")
        first, bad = await engine.submit(a, 1), await engine.submit(a, "fail")
        await engine.submit_many([
            b.using(after=[first]).bind(2), c.using(after=[0]).bind(3), b.using(after=[bad]).bind(4), c.using(after=[2]).bind(5),
            a.using(after=[3], after_failure="run").bind(6),
        ])  # fmt: skip
        await engine.resume("a")
        await engine.drain(timeout=5)
    whole = list(events_in(store))
    assert sum(type(event) is DependencyMet for event in whole) == 3
    submitted = max(n for n, event in enumerate(whole, 1) if type(event) is TaskSubmitted)
    for cut in range(submitted, len(whole)):
        left = cut_after(store, cut)
        queues, _ = recording("a", "b", "c")
        async with Engine("x", queues, store=left) as engine:
            await engine.resume("a")
            await engine.drain(timeout=5)
            ends = {task.payload[0][0]: task.state.value for task in await engine.list() if task.payload is not None}
            assert ends == {**dict.fromkeys((1, 2, 3, 6), "succeeded"), "fail": "failed", 4: "cancelled", 5: "cancelled"}, cut
        sound(left)


def cut_after(store: MemoryStore, seq: int) -> MemoryStore:
    """A journal that holds the first `seq` records of another, as if the process had died there.  One commit: the chain is made anew."""
    from journeyman.journal.log import Journal
    from journeyman.journal.store import Table

    again, journal = MemoryStore(), Journal(MemoryStore())
    events = [event for n, event in enumerate(events_in(store), 1) if n <= seq]
    payloads = [(int.from_bytes(key, "big"), data) for key, data in store.scan(Table.PAYLOADS, limit=1_000)]
    batch = journal.seal(list(enumerate(events, 1)), [(n, data) for n, data in payloads if n <= seq])
    done: list[BaseException | None] = []
    again.begin_append(batch, done.append)
    assert done == [None]
    return again


# row 92
async def test_row_92_prune_leaves_alone_what_something_waits_to_hear_of() -> None:
    """Retention 0 would drop it at its end; the one that waits, in another queue, hears of it all the same."""
    made, told = recording("a", "b", retention=Retention(succeeded=0, failed=0, cancelled=None))
    a, b = map(handler, made)
    store = WatchedStore()
    async with Engine("x", made, store=store) as engine:
        await engine.pause("a")
        first = await engine.submit(a, 1)
        follows = await engine.submit(b.using(after=[first]), 2)
        assert engine._session is not None
        shell = engine._session.shell
        assert shell.dependencies.pinned(bytes.fromhex(first.id.replace("-", "")))
        await engine.resume("a")
        await follows.wait(5)
        await engine.prune(0, states=["succeeded", "failed"])
        assert not shell.dependencies.actors or not shell.dependencies.pinned(bytes.fromhex(first.id.replace("-", "")))
    assert told == [1, 2]
    sound(store)


# row 92
async def test_row_92_survives_checkpoints_and_restarts(autojump_clock: trio.testing.MockClock) -> None:
    made, told = recording("a", "b")
    a, b = map(handler, made)
    store, clock = MemoryStore(), TrioClock()
    async with Engine("x", made, store=store, clock=clock) as engine:
        first = await engine.submit(a.using(delay=1000), 1)
        follows = await engine.submit(b.using(after=[first]), 2)
        await trio.sleep(200)  # a checkpoint
        await engine.submit(b.using(after=[first, follows]), 3)
    again, _ = recording("a", "b", told=told)
    async with Engine("x", again, store=store, clock=clock) as engine:
        assert (await engine.get(follows.id)).waits_for == (first.id,)
        await trio.sleep(900)
        await engine.drain(timeout=5)
    assert told == [1, 2, 3]
    assert sum(type(event) is TaskCancelled for event in events_in(store)) == 0

"""Rows 18 to 21, 23 and 24: order, due instants, bulk submits, ids."""

from __future__ import annotations

import itertools
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import pytest
import trio

from journeyman.engine import DuplicateTask, Engine, InvalidPayload, Priority, Queue, QueueFull, State
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.stores import WatchedStore
from tests.acceptance.virtual import TrioClock, until


def recording(name: str = "q", **policy: object) -> tuple[Queue, list[object]]:
    """A queue with one handler, `note`, that writes down its argument; and what it wrote."""
    queue, order = Queue(name, **policy), list[object]()  # type: ignore[arg-type]

    @queue.handler
    async def note(what: str | int) -> None:
        order.append(what)

    return queue, order


# row 18
async def test_row_18_higher_priority_first() -> None:
    queue, order = recording()
    note = queue.handlers["note"]
    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        for priority in (Priority.LOW, Priority.URGENT, -3, Priority.NORMAL, 7, Priority.HIGH, 2**31 - 1, 1000):
            await engine.submit(note.using(priority=priority), int(priority))
        await engine.submit(note, "default")  # NORMAL, after the one that says so
        await engine.resume("q")
        await engine.drain(timeout=5)
    assert order == [2**31 - 1, 1000, 20, 10, 7, 5, "default", 0, -3]
    assert (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT) == (0, 5, 10, 20)


# row 18
async def test_row_18_priority_survives_a_restart() -> None:
    queue, order = recording()
    note, store = queue.handlers["note"], MemoryStore()
    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("q")
        handles = [await engine.submit(note.using(priority=n), n) for n in (1, 3, 2)]
    async with Engine("x", [queue], store=store) as engine:
        assert [(await engine.get(handle.id)).priority for handle in handles] == [1, 3, 2]
        await engine.resume("q")
        await engine.drain(timeout=5)
    assert order == [3, 2, 1]


# row 19
async def test_row_19_first_in_first_out_however_it_was_submitted() -> None:
    queue, order = recording()
    note, store = queue.handlers["note"], MemoryStore()
    async with Engine("x", [queue], store=store) as engine:
        await engine.pause("q")
        for n in range(0, 30, 3):
            await engine.submit(note, n)
            await engine.submit_many([note.bind(n + 1), note.bind(n + 2)])
    async with Engine("x", [queue], store=store) as engine:
        await engine.submit(note, 30)
        await engine.resume("q")
        await engine.drain(timeout=5)
    assert order == list(range(31))


# row 19
@pytest.mark.parametrize("seed", range(5))
async def test_row_19_exact_order_by_priority_due_instant_and_seq(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    queue, order = recording()
    note, chance = queue.handlers["note"], random.Random(seed)
    expected: list[tuple[int, int, int]] = []
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        await engine.pause("q")
        start = datetime.fromtimestamp(TrioClock().wall() / 1e6, UTC)
        for n in range(150):
            priority, offset = chance.choice((0, 5, 9)), chance.choice((10, 20, 30))
            at = start + timedelta(seconds=offset)  # many at one and the same instant
            await engine.submit(note.using(at=at, priority=priority), n)
            expected.append((-priority, offset, n))
        await trio.sleep(60)
        await engine.resume("q")
        await engine.drain()
    assert order == [n for _, _, n in sorted(expected)]


# row 20
@pytest.mark.parametrize("by", ["delay", "timedelta", "at"])
async def test_row_20_never_early_and_late_by_less_than_20_ms(tmp_path: Path, by: str) -> None:
    """A start is durable before its handler is entered, and on a busy machine a sleep and a disk alone are late: so bare sleeps to the
    same instants, each followed by the two barriers of a commit, are measured beside the engine.
    """
    queue = Queue("q", concurrency=8)
    late: list[float] = []
    bare: list[float] = []

    @queue.handler
    async def work(due: float) -> None:
        late.append(datetime.now(UTC).timestamp() - due)

    def two_barriers(due: float) -> None:
        with (tmp_path / str(due)).open("wb", buffering=0) as file:
            for _ in range(2):
                file.write(bytes(4096))
                os.fdatasync(file.fileno())

    async def sleeper(due: float) -> None:
        await trio.sleep(due - datetime.now(UTC).timestamp())
        await trio.to_thread.run_sync(two_barriers, due)
        bare.append(datetime.now(UTC).timestamp() - due)

    async with Engine(tmp_path / "jobs", [queue]) as engine, trio.open_nursery() as nursery:
        for n in range(9):
            wait, now = 0.05 + n * 0.013, datetime.now(UTC)
            at = now + timedelta(seconds=wait)
            using = {"delay": {"delay": wait}, "timedelta": {"delay": timedelta(seconds=wait)}, "at": {"at": at}}[by]
            nursery.start_soon(sleeper, at.timestamp())
            handle = await engine.submit(work.using(**using), at.timestamp())  # type: ignore[arg-type]
            task = await engine.get(handle.id)
            if by == "at":
                assert task.due_at == at

        async def done() -> bool:
            return len(late) == len(bare) == 9

        await until(done)
        for task in await engine.list(state="succeeded"):
            assert task.started_at is not None
            assert task.started_at >= task.due_at
    assert min(late) >= 0
    assert median(late) < median(bare) + 0.02


# row 20
async def test_row_20_on_a_clock_that_waits_for_nobody_nothing_is_late(autojump_clock: trio.testing.MockClock) -> None:
    queue, started = Queue("q", concurrency=8), list[float]()

    @queue.handler
    async def work() -> None:
        started.append(trio.current_time())

    async with Engine(None, [queue], clock=TrioClock()) as engine:
        waits = [0.05 + n * 0.013 for n in range(9)]
        for wait in waits:
            handle = await engine.submit(work.using(delay=wait))
            assert (await engine.get(handle.id)).state is State.SCHEDULED
        await trio.sleep(10)
    assert started == pytest.approx(waits, abs=1e-5)


# row 20
async def test_row_20_the_past_means_now(autojump_clock: trio.testing.MockClock) -> None:
    queue, order = recording()
    note = queue.handlers["note"]
    async with Engine(None, [queue], clock=TrioClock()) as engine:
        begun = trio.current_time()
        for using in (
            {"delay": 0},
            {"delay": timedelta(0)},
            {"at": datetime(1999, 1, 1, tzinfo=UTC)},
            {"at": datetime(1, 1, 1, tzinfo=UTC)},
        ):
            task = await (await engine.submit(note.using(**using), 1)).wait()  # type: ignore[arg-type]
            assert task.state is State.SUCCEEDED
            assert task.due_at == task.submitted_at
        assert trio.current_time() - begun < 0.01
    assert order == [1, 1, 1, 1]


# row 20
async def test_row_20_a_far_due_instant_is_met_after_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    queue, order = recording()
    note, store = queue.handlers["note"], MemoryStore()
    async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
        handle = await engine.submit(note.using(delay=30 * 86400), "month")
        due_at = (await engine.get(handle.id)).due_at
        await trio.sleep(10 * 86400)
        assert order == []
    async with Engine("x", [queue], clock=TrioClock(), store=store) as engine:
        await trio.sleep(20 * 86400 + 1)
        task = await engine.get(handle.id)
        assert task.started_at is not None
        assert timedelta(0) <= task.started_at - due_at < timedelta(milliseconds=20)
    assert order == ["month"]


# row 21
async def test_row_21_submit_many_is_one_commit_over_several_queues() -> None:
    one, first = recording("one")
    two, second = Queue("two"), list[object]()

    @two.handler
    async def note_two(what: int) -> None:
        second.append(what)

    store = WatchedStore()
    async with Engine("x", [one, two], store=store) as engine:
        await engine.pause("one")
        await engine.pause("two")
        store.commits.clear()
        items = [
            one.handlers["note"].bind(0),
            (note_two, (1,), {}),
            ("note", (), {"what": 2}),
            ("note_two", (3,)),
            (note_two.using(delay=9), [4]),
        ]
        handles = await engine.submit_many(items)
        assert store.commits == [5]
        tasks = [await engine.get(handle.id) for handle in handles]
        assert [task.queue for task in tasks] == ["one", "two", "one", "two", "two"]
        assert [task.payload for task in tasks] == [([n], {}) for n in range(5)]
        assert [handle.id for handle in handles] == sorted(handle.id for handle in handles)
        assert await engine.submit_many([]) == []
        await engine.resume("one")
        await engine.resume("two")
        await engine.drain(timeout=5)
    assert (first, second) == ([0, 2], [1, 3])


# row 21
async def test_row_21_all_or_none() -> None:
    roomy, tight, store = Queue("roomy"), Queue("tight", max_pending=2), MemoryStore()

    @roomy.handler
    async def easy(n: int) -> None: ...

    @tight.handler
    async def narrow(n: int) -> None: ...

    taken = str(uuid4())
    async with Engine("x", [roomy, tight], store=store) as engine:
        await engine.pause("roomy")
        await engine.pause("tight")
        await engine.submit(easy.using(id=taken), 1)
        wrong: list[tuple[type[Exception], list[object]]] = [
            (QueueFull, [easy.bind(n) for n in range(3)] + [narrow.bind(n) for n in range(3)]),
            (DuplicateTask, [narrow.bind(1), easy.using(id=taken).bind(2)]),
            (InvalidPayload, [narrow.bind(1), (easy, ("x",))]),
            (TypeError, [narrow.bind(1), (easy, ())]),
            (TypeError, [narrow.bind(1), easy]),
        ]
        for error, items in wrong:
            with pytest.raises(error):
                await engine.submit_many(items)
            assert await engine.count() == 1
        await engine.submit_many([narrow.bind(n) for n in range(2)])  # a refusal took no room
    async with Engine("x", [roomy, tight], store=store) as engine:
        assert await engine.count() == 3


# row 23
async def test_row_23_the_same_id_is_the_same_task(tmp_path: Path) -> None:
    queue, order = recording()
    note, id = queue.handlers["note"], str(uuid4())
    async with Engine(tmp_path / "jobs", [queue]) as engine:
        first = await engine.submit(note.using(id=id), 1)
        assert first.id == id
        await first.wait(timeout=5)
        assert (await engine.submit(note.using(id=id, priority=20, delay=5), 1)).id == id, "options do not make it another task"
        with pytest.raises(DuplicateTask, match="other arguments"):
            await engine.submit(note.using(id=id), 2)
    async with Engine(tmp_path / "jobs", [queue]) as engine:
        again = await engine.submit(note.using(id=id.upper()), what=1)
        assert (await again.wait(timeout=5)).attempt == 1
        with pytest.raises(DuplicateTask):
            await engine.submit(note.using(id=id), 2)
        assert await engine.count() == 1
    assert order == [1]


# row 23
@pytest.mark.parametrize("id", ["", "x", "7", 7, "01890a5d-ac96-774b-bcce-b302099a805", b"0123456789abcdef"])
def test_row_23_an_id_is_a_uuid(id: object) -> None:
    queue, _ = recording()
    with pytest.raises(ValueError, match="UUID"):
        queue.handlers["note"].using(id=id)  # type: ignore[arg-type]


# row 24
async def test_row_24_ids_are_uuid7_and_strictly_increasing() -> None:
    queue, _ = recording()
    note, store, ids = queue.handlers["note"], MemoryStore(), list[str]()
    before = datetime.now(UTC)
    for _ in range(2):
        async with Engine("x", [queue], store=store) as engine:
            for n in range(20):
                ids.append((await engine.submit(note, n)).id)
                ids += [handle.id for handle in await engine.submit_many([note.bind(k) for k in range(20)])]
        await trio.sleep(0.002)  # another process cannot know the last id: only time orders them
    assert ids == sorted(ids)
    assert len(set(ids)) == 840
    for id in ids:
        uuid = UUID(id)
        assert (uuid.version, str(uuid)) == (7, id)
        assert before.timestamp() - 0.001 <= (uuid.int >> 80) / 1000 <= datetime.now(UTC).timestamp() + 1


# row 21
async def test_row_21_items_without_end_are_refused_and_nothing_is_stored() -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue]) as engine:
        with pytest.raises(ValueError, match="at most 100,000 tasks"):
            await engine.submit_many(work.bind() for _ in itertools.count())
        assert await engine.count() == 0

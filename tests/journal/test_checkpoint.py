"""Checkpoints, recovery, prune and compaction, against the fold of everything that remains."""

from __future__ import annotations

import copy
import random

import pytest

from journeyman.journal.checkpoint import CHECKPOINT
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import recover, reload_queue, verify_rows
from journeyman.journal.store import Batch, Table
from journeyman.kernel.events import ClockStepped, JournalCompacted, TaskRetried
from journeyman.kernel.lifecycle import TERMINAL, State
from tests.journal.driver import Driver, assert_same, check_tables, commit, picture


@pytest.mark.parametrize("seed", range(60))
def test_random_histories(seed: int) -> None:
    """Everything at once: events, chunks, prunes, compactions and crashes at random; live == recovered == folded from the first event."""
    a_random_history(seed, gives_up=0.0)


@pytest.mark.parametrize("seed", range(40))
def test_random_histories_with_checkpoints_that_are_given_up(seed: int) -> None:
    a_random_history(seed, gives_up=0.06)


def a_random_history(seed: int, gives_up: float) -> None:
    store = MemoryStore()
    driver = Driver(store, seed)
    for step in range(150):
        driver.act()
        if gives_up and driver.random.random() < gives_up:
            driver.flush()
            driver.checkpoint.give_up()
        dice = driver.random.random()
        if dice < 0.30:
            driver.flush()
        elif dice < 0.36 and not driver.checkpoint.running:
            driver.begin_checkpoint()
        elif dice < 0.65 and driver.checkpoint.running:
            driver.chunk(driver.random.choice((1, 2, 5)))
        elif dice < 0.70:
            driver.prune()
        elif dice < 0.73:
            driver.compact()
        elif dice < 0.77:
            driver.check()
        elif dice < 0.79:
            driver = Driver(store, seed * 1000 + step)  # whatever was not flushed is lost
    driver.check()


def busy(seed: int, acts: int = 120) -> Driver:
    driver = Driver(MemoryStore(), seed)
    for _ in range(acts):
        driver.act()
    driver.flush()
    return driver


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_between_every_two_chunks_is_harmless(seed: int) -> None:
    """With work going on between the chunks.  After each commit the disk is copied, recovered, compared, and carried on to a complete
    checkpoint."""
    driver = busy(seed)
    while driver.chunk(9):
        pass
    driver.whole_checkpoint(7)
    for _ in range(60):
        driver.act()
    driver.begin_checkpoint()
    frozen = driver.journal.sealed
    cuts = 0
    more = True
    while more:
        more = driver.chunk(2)
        for _ in range(2):
            driver.act()
        driver.flush()
        live = picture(driver.state, driver.opened)
        after = Driver(copy.deepcopy(driver.store), seed + 1, boot_events=False)
        assert_same(picture(after.state, after.opened), live)
        verify_rows(after.store, after.opened.tally)
        cuts += after.opened.report.cut_short
        for _ in range(5):
            after.act()
        after.whole_checkpoint(1_000)
        after.check()
        assert after.opened.tally.shadowed == {}
        assert recover(after.store).report.tail == after.journal.sealed - after.checkpoint.through_seq
    assert driver.checkpoint.through_seq == frozen
    assert cuts > 3


@pytest.mark.parametrize("seed", range(8))
def test_one_given_up_holds_nothing_back(seed: int) -> None:
    """However far it has come: ended tasks from after the last complete one can be pruned at once, and the next checkpoint has all."""
    cuts = 0
    for chunks in range(12):
        driver = busy(seed)
        driver.begin_checkpoint()
        for _ in range(chunks):
            driver.chunk(3)
            driver.act()
        driver.flush()
        rows = dict(driver.store.scan(Table.LIVE, limit=1_000)) | dict(driver.store.scan(Table.TASKS, limit=1_000))
        if not rows or driver.store.get(Table.META, CHECKPOINT):
            continue
        cuts += 1
        driver.checkpoint.give_up()
        assert not driver.checkpoint.running and driver.checkpoint.through_seq == 0
        driver.now += 100_000
        expired = [task for task in driver.tasks(*TERMINAL) if task.expires_at is not None and task.expires_at <= driver.now]
        assert expired
        while driver.prune(7):
            driver.check()
        assert not {task.id for task in expired} & {task.id for task in driver.tasks(*TERMINAL)}
        driver.whole_checkpoint(5)
        driver.check()
        assert driver.opened.tally.shadowed == {}
        assert recover(driver.store).report.tail == driver.journal.sealed - driver.checkpoint.through_seq
    assert cuts > 3


def test_rows_say_the_state_as_of_the_freeze() -> None:
    driver = busy(3)
    driver.begin_checkpoint()
    frozen = picture(driver.state)
    for _ in range(40):
        driver.act()
        driver.chunk(1)
    while not driver.store.get(Table.META, CHECKPOINT):
        driver.chunk(50)
    through = driver.journal.next_seq - 1
    store = copy.deepcopy(driver.store)
    assert isinstance(store, MemoryStore)
    tail = [key for key, _ in store.scan(Table.EVENTS, (recover(store).report.checkpoint_seq + 1).to_bytes(8, "big"), limit=10_000)]
    batch = Batch()
    batch.delete(Table.EVENTS, tail)  # as if nothing had happened since
    store.commit(batch)
    found = recover(store)
    rows = picture(found.state)["rows"]
    settled = {id: row for id, row in frozen["rows"].items() if id not in rows}
    assert {id: row for id, row in frozen["rows"].items() if id in rows} == rows
    assert {task.id: task.row() for task in found.catalog.rows(list(settled))} == settled
    assert through > found.report.checkpoint_seq


def test_a_second_checkpoint_writes_only_what_changed() -> None:
    driver = busy(5, 300)
    driver.whole_checkpoint(1_000)
    driver.begin_checkpoint()
    assert not driver.checkpoint.unwritten
    while driver.chunk(1_000):
        pass
    for _ in range(3):
        driver.submit()
    driver.flush()
    assert driver.checkpoint.begin(driver.state, driver.journal.sealed, driver.now) == 3


def test_short_lived_tasks_never_reach_an_index() -> None:
    driver = Driver(MemoryStore(), 1)
    for _ in range(20):
        driver.submit()
        [task] = driver.tasks(State.PENDING)
        driver.start(task)
        driver.end(task, 0, 0)
    driver.now += 1
    assert driver.prune() == 20
    driver.whole_checkpoint(5)
    assert driver.store.count(Table.TASKS) == driver.store.count(Table.LIVE) == driver.store.count(Table.BY_EXPIRY) == 0
    assert driver.store.count(Table.PAYLOADS) == 0
    driver.check()


def test_an_expired_task_across_the_checkpoint_goes_after_the_next_one() -> None:
    driver = Driver(MemoryStore(), 1)
    driver.submit()
    driver.whole_checkpoint(5)
    [task] = driver.tasks(State.PENDING)
    driver.start(task)
    driver.end(task, 0, 0)
    driver.now += 1
    assert driver.prune() == 0
    driver.whole_checkpoint(5)
    assert driver.store.count(Table.TASKS) == 0
    assert driver.store.count(Table.LIVE) == 1
    driver.now += 1
    assert driver.prune() == 1
    assert driver.store.count(Table.LIVE) == 0
    driver.check()


def test_steady_state_does_not_grow() -> None:
    """Thousands of tasks and many boots later as few records are left as after the first hundreds."""
    store = MemoryStore()
    sizes: list[int] = []
    for boot in range(12):
        driver = Driver(store, boot)
        for _ in range(100):
            driver.submit()
            [task] = driver.tasks(State.PENDING)
            driver.start(task)
            driver.end(task, 0, 10)
            driver.now += 20
            if driver.random.random() < 0.2:
                driver.prune()
        driver.whole_checkpoint(50)
        driver.now += 20
        while driver.prune():
            pass
        driver.whole_checkpoint(50)
        driver.compact(at_least=2)
        driver.check()
        driver.close()
        sizes.append(store.count(Table.EVENTS))
    assert sizes[-1] <= sizes[1] + 2, sizes
    events = [event for chunk in driver.journal.walk(1, 10**9) for _, event in chunk]
    [compacted] = [event for event in events if isinstance(event, JournalCompacted)]
    assert compacted.totals["tasks"] >= 1_100


def test_the_catalog_reads_settled_tasks() -> None:
    driver = Driver(MemoryStore(), 1)
    ids = []
    for n in range(600):
        ids.append(driver.submit())
        [task] = driver.tasks(State.PENDING)
        driver.start(task)
        driver.end(task, 0 if n % 3 else 1, 1_000 if n % 2 else None)
        driver.now += 1
    driver.whole_checkpoint(100)
    assert driver.state.queue("mail").tasks == {}
    catalog, now = driver.opened.catalog, driver.now
    assert catalog.get(ids[7], now).seq > 0  # type: ignore[union-attr]
    assert catalog.get(b"\0" * 16, now) is None
    succeeded = catalog.newest("mail", State.SUCCEEDED, now, limit=300)
    assert [task.id for task in succeeded] == [id for n, id in reversed(list(enumerate(ids))) if n % 3][:300]
    older = catalog.newest("mail", State.SUCCEEDED, now, before=succeeded[-1].seq, limit=300)
    assert [task.id for task in older] == [id for n, id in reversed(list(enumerate(ids))) if n % 3][300:]
    assert catalog.counts(now)["mail"][State.FAILED] == 200
    assert catalog.newest("nowhere", State.FAILED, now, limit=3) == []
    # Half of them expire: invisible at once, gone after prune.
    later = now + 2_000
    assert catalog.counts(later)["mail"] == {State.SUCCEEDED: 200, State.FAILED: 100, State.CANCELLED: 0, State.INTERRUPTED: 0}
    assert len(catalog.newest("mail", State.SUCCEEDED, later, limit=1_000)) == 200
    assert catalog.get(ids[1], later) is None
    assert catalog.next_expiry() is not None
    driver.now = later
    while driver.prune(70):
        assert catalog.counts(later)["mail"][State.FAILED] == 100
    assert catalog.next_expiry() is None
    driver.check()


def test_a_retried_task_leaves_the_catalog_at_once() -> None:
    driver = Driver(MemoryStore(), 1)
    driver.submit()
    [task] = driver.tasks(State.PENDING)
    driver.start(task)
    driver.end(task, 1, None)
    driver.whole_checkpoint(100)
    [settled] = driver.opened.catalog.newest("mail", State.FAILED, driver.now, limit=5)
    driver.emit(TaskRetried(*driver.head("mail"), settled.id, "op", "again", settled.row()))
    assert driver.opened.catalog.get(settled.id, driver.now) is None
    assert driver.opened.catalog.counts(driver.now)["mail"][State.FAILED] == 0
    driver.check()
    driver.whole_checkpoint(100)
    check_tables(driver.opened)
    assert driver.store.count(Table.TASKS) == 0
    driver.check()


def test_the_same_id_again_after_its_retention() -> None:
    driver = Driver(MemoryStore(), 1)
    driver.random = random.Random(4)
    first = driver.submit()
    [task] = driver.tasks(State.PENDING)
    driver.start(task)
    driver.end(task, 0, 50)
    driver.whole_checkpoint(100)
    driver.now += 100
    driver.random = random.Random(4)
    assert driver.submit() == first
    [task] = driver.tasks(State.PENDING)
    driver.start(task)
    driver.end(task, 0, 5_000)
    driver.whole_checkpoint(100)
    check_tables(driver.opened)
    assert driver.opened.catalog.get(first, driver.now).seq == task.seq  # type: ignore[union-attr]
    driver.check()


def test_a_clock_step_freezes_everything_first() -> None:
    driver = busy(9)
    driver.submit("mail", 500)
    driver.begin_checkpoint()
    driver.chunk(1)
    driver.emit(ClockStepped(driver.now, "", 0, 1, 3_600_000_000))
    assert not driver.checkpoint.unwritten
    driver.flush()
    driver.check()
    while driver.chunk(5):
        driver.check()
    driver.begin_checkpoint()
    while driver.chunk(5):
        driver.check()


def test_one_queue_is_reloaded_beside_the_running_journal() -> None:
    driver = busy(11, 200)
    driver.whole_checkpoint(5)
    for _ in range(50):
        driver.act()
    driver.flush()
    queue = reload_queue(driver.store, driver.journal, driver.opened.tally, "mail")
    live = driver.state.queue("mail")
    assert queue.facts() == live.facts()
    assert {id: task.row() for id, task in queue.tasks.items()} == {id: task.row() for id, task in live.tasks.items()}


def test_an_empty_journal() -> None:
    found = recover(MemoryStore())
    assert (found.journal.next_seq, found.state.queues, found.report.tail) == (1, {}, 0)


def test_misuse_is_refused() -> None:
    driver = busy(1)
    driver.begin_checkpoint()
    with pytest.raises(ValueError, match="under way"):
        driver.checkpoint.begin(driver.state, driver.journal.sealed, driver.now)
    while driver.chunk(1_000):
        pass
    driver.submit()
    with pytest.raises(ValueError, match="sealed"):
        driver.checkpoint.begin(driver.state, driver.journal.next_seq - 1, driver.now)
    with pytest.raises(ValueError, match="order"):
        driver.journal.seal([(99, driver.pending[0][1])])


def test_commits_are_whole_on_lmdb_too(tmp_path: object) -> None:
    from journeyman.journal.opening import open_store

    store = open_store(f"{tmp_path}/jobs")
    driver = Driver(store, 21)
    for _ in range(200):
        driver.act()
    driver.begin_checkpoint()
    while driver.chunk(20):
        driver.act()
    driver.now += 5_000
    while driver.prune(30):
        pass
    driver.compact()
    driver.check()
    live = picture(driver.state, driver.opened)
    commit(store, Batch())
    store.close()
    store = open_store(f"{tmp_path}/jobs")
    again = Driver(store, 1, boot_events=False)
    assert_same(picture(again.state, again.opened), live)
    store.close()


def test_what_is_gone_already_is_not_pruned_again() -> None:
    driver = Driver(MemoryStore(), 1)
    driver.submit()
    [task] = driver.tasks(State.PENDING)
    driver.start(task)
    driver.end(task, 0, 50)
    driver.whole_checkpoint(100)
    driver.now += 100
    listed = driver.pruner.expired(driver.state, driver.now, 10, driver.journal.sealed)
    first = driver.pruner.prune([*listed, *listed], driver.state, driver.now)
    assert driver.pruner.prune(listed, driver.state, driver.now).events == []  # under way
    for event in first.events:
        driver.emit(event)
    driver.flush(first.extra)
    driver.pruner.durable(first)
    assert driver.pruner.prune(listed, driver.state, driver.now).events == []  # done
    driver.check()

"""The streaming fold says what the fold of everything says, in less memory."""

from __future__ import annotations

import pytest

from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import fold_everything, recover
from journeyman.journal.row import add_digest, digest_body, encode_body
from journeyman.journal.store import Table
from journeyman.journal.streaming import StreamingFold, compare
from journeyman.kernel.lifecycle import TERMINAL
from tests.journal.driver import Driver


def streamed(driver: Driver, page: int) -> StreamingFold:
    fold = StreamingFold(driver.store)
    first = 1
    while found := driver.journal.read(first, driver.journal.sealed, limit=page):
        fold.feed(found)
        fold.settle()
        first = found[-1][0] + 1
    return fold


def whole_digest(driver: Driver) -> int:
    total = 0
    for queue in fold_everything(driver.journal).queues.values():
        for task in queue.tasks.values():
            total = add_digest(total, digest_body(encode_body(task)))
    return total


@pytest.mark.parametrize("seed", range(12))
def test_it_agrees_with_the_fold_of_everything(seed: int) -> None:
    driver = Driver(MemoryStore(), seed)
    for round in range(12):
        for _ in range(60):
            driver.act()
        if round % 4 == 1:
            driver.begin_checkpoint()
            for _ in range(driver.random.randrange(1, 9)):  # some are cut off here and go on below
                driver.act()
                if not driver.chunk(7):
                    break
        while driver.checkpoint.running and driver.chunk(50):
            pass
        if round % 3 == 2:
            driver.prune()
            driver.compact()
        driver.flush()
        page = driver.random.choice((1, 7, 1_000))
        fold = streamed(driver, page)
        assert fold.digest == whole_digest(driver)
        compare(fold, recover(driver.store).state)
        assert (fold.differences, fold.more, fold.rowless) == ([], 0, [])


@pytest.mark.parametrize("cut", [1, 3, 10])
def test_a_checkpoint_cut_short_is_no_difference(cut: int) -> None:
    driver = Driver(MemoryStore(), 40 + cut)
    for _ in range(200):
        driver.act()
    driver.whole_checkpoint(50)
    for _ in range(150):
        driver.act()
    driver.begin_checkpoint()
    for _ in range(cut):
        driver.chunk(3)
    fold = streamed(driver, 11)
    compare(fold, recover(driver.store).state)
    assert (fold.differences, fold.rowless) == ([], [])
    assert fold.digest == whole_digest(driver)


def test_what_has_ended_is_not_held() -> None:
    driver = Driver(MemoryStore(), 5)
    for _ in range(1_500):
        driver.act()
    driver.whole_checkpoint(1_000)
    driver.flush()
    fold = streamed(driver, 100)
    ended = [task for queue in fold.state.queues.values() for task in queue.tasks.values() if task.state in TERMINAL]
    settled = driver.store.count(Table.TASKS)
    assert settled > 30
    assert fold.matched >= settled
    assert len(ended) <= driver.store.count(Table.LIVE)


def test_a_row_that_says_otherwise_is_named() -> None:
    driver = Driver(MemoryStore(), 6)
    for _ in range(400):
        driver.act()
    driver.whole_checkpoint(1_000)
    store = driver.store
    pairs = store.scan(Table.TASKS, limit=1_000)
    task = recover(store).catalog.rows([pairs[3][0]])[0]
    from journeyman.journal.row import stamp_row

    task.elapsed_us = 77
    key, value, _ = stamp_row(task.id, encode_body(task), driver.checkpoint.through_seq)
    assert isinstance(store, MemoryStore)
    store.tables[Table.TASKS].rows[key] = value
    (difference,) = streamed(driver, 50).differences
    assert (difference.task, difference.first, difference.seq) == (task.id, task.seq, task.last_seq)
    assert "elapsed_us 77 there" in difference.text

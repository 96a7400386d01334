"""A look at the past begins with the newest checkpoint, page by page, while an engine goes on: checkpoints, retries, prunes."""

from __future__ import annotations

import copy
from collections import Counter
from random import Random
from typing import Any

import pytest

from journeyman.journal import basis
from journeyman.journal.log import seq_key
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.past import Walk, unexpired
from journeyman.journal.recovery import fold_everything
from journeyman.journal.store import Items, Table
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.taskstate import TaskState
from tests.journal.driver import Driver

ROWS = (Table.LIVE, Table.TASKS, Table.BY_EXPIRY)


class Moving(MemoryStore):
    """Something happens between two pages of rows, once somebody has begun to read."""

    def __init__(self) -> None:
        super().__init__()
        self.driver: Driver | None = None
        self.prunes = True
        self.pages = 0
        self._acting = False

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        found = super().scan(table, start, stop, reverse=reverse, limit=limit)
        if table in ROWS and self.driver is not None and not self._acting:
            self._acting = True
            self.pages += 1
            self.happen(self.driver)
            self._acting = False
        return found

    def happen(self, driver: Driver) -> None:
        random = driver.random
        for _ in range(random.randrange(6)):
            driver.act()
        if not driver.checkpoint.running:
            if random.random() < 0.5:
                driver.begin_checkpoint()
        else:
            for _ in range(random.randrange(30)):
                driver.chunk(random.randrange(1, 8))
        if self.prunes and random.random() < 0.3:
            driver.prune(5)
        driver.flush()


def lived(seed: int, *, prunes: bool) -> tuple[Moving, Driver, dict[bytes, TaskState], int]:
    """A journal with a checkpoint and a tail; all its tasks as they stand, and the newest seq."""
    store = Moving()
    driver = Driver(store, seed)
    for acts in (150, 150, 40):
        for _ in range(acts):
            driver.act()
        if acts > 100:
            driver.whole_checkpoint(50)
    if seed % 2:  # one that is under way from the start
        driver.begin_checkpoint()
        driver.chunk(10)
    driver.flush()
    state = fold_everything(copy.deepcopy(driver.journal))
    tasks = {id: task for queue in state.queues.values() for id, task in queue.tasks.items()}
    store.driver, store.prunes = driver, prunes
    driver.random = Random(1_000 + seed)  # other ids than before
    return store, driver, tasks, driver.journal.sealed


@pytest.mark.parametrize("seed", range(40))
def test_every_task_is_met_once_as_it_stood(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "_PAGE", 3)
    store, driver, tasks, last = lived(seed, prunes=True)
    walk = Walk(store, last, ended=True)
    assert 0 < walk.seq <= last, "it was to begin with a checkpoint"
    walk.run(last)
    walk.without_pruned()
    assert store.pages > 10
    found = {id: task for queue in walk.state.queues.values() for id, task in queue.tasks.items()}
    retained = {id for id, task in tasks.items() if store.get(Table.EVENTS, seq_key(task.seq)) is not None}
    assert retained - found.keys() == set()
    assert found.keys() - tasks.keys() == set()
    for id in retained:
        assert found[id].row() == tasks[id].row()
    assert driver.checkpoint.through_seq > 0


@pytest.mark.parametrize("seed", range(40))
def test_ended_tasks_are_counted_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "_PAGE", 3)
    store, driver, tasks, last = lived(seed, prunes=False)
    observers = (driver.now, driver.now + 300)
    walk = Walk(store, last, ended=False, observers=observers)
    walk.run(last)
    for at, settled in zip(observers, walk.settled, strict=True):
        ended = [task for task in tasks.values() if task.state in TERMINAL and unexpired(task, at)]
        expected: Counter[Any] = Counter((task.queue, task.state) for task in ended)
        assert Counter({(name, state): n for name, counts in settled.items() for state, n in counts.items() if n}) == expected
    assert {id for queue in walk.state.queues.values() for id in queue.tasks} == {
        id for id, task in tasks.items() if task.state not in TERMINAL
    }


def test_where_no_checkpoint_is_under_way_no_row_of_an_ended_task_is_read() -> None:
    store, driver, tasks, last = lived(4, prunes=False)
    store.driver = None
    walk = Walk(store, last, ended=False, observers=(driver.now,))
    base = basis.begin(store)
    counts = basis.counted(store, base, (driver.now,))
    assert counts is not None and sum(sum(each.values()) for each in counts[0].values()) > 5
    walk.run(last)
    ended = sum(1 for task in tasks.values() if task.state in TERMINAL and unexpired(task, driver.now))
    assert sum(sum(each.values()) for each in walk.settled[0].values()) == ended
    driver.begin_checkpoint()
    driver.chunk(1)
    assert basis.counted(store, basis.begin(store), (driver.now,)) is None
    assert State.SUCCEEDED in {task.state for task in basis.settled(store, basis.begin(store))}

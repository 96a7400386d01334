"""Damage to values, found by what reads them.  (Damage to files: test_opening.py.)"""

from __future__ import annotations

from hashlib import blake2b

import pytest

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.log import seq_key
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import fold_everything, recover, verify_rows
from journeyman.journal.store import Table
from journeyman.kernel.events import AttemptStarted, TaskSubmitted
from tests.journal.driver import Driver, commit


def settled_store() -> MemoryStore:
    driver = Driver(MemoryStore(), 2)
    for _ in range(200):
        driver.act()
    driver.whole_checkpoint(1_000)
    for _ in range(30):
        driver.act()
    driver.flush()
    store = driver.store
    assert isinstance(store, MemoryStore)
    return store


def test_every_flipped_byte_that_recovery_reads_is_found() -> None:
    store = settled_store()
    base = recover(store).report.checkpoint_seq
    for table in (Table.META, Table.LIVE, Table.EVENTS):
        for key, value in store.scan(table, limit=10_000):
            if table is Table.EVENTS and int.from_bytes(key, "big") <= base:
                continue
            for at in {0, 1, 8, len(value) // 2, len(value) - 1}:
                damaged = bytearray(value)
                damaged[at % len(value)] ^= 0x20
                store.tables[table].rows[key] = bytes(damaged)
                with pytest.raises(JournalCorrupt):
                    recover(store)
            store.tables[table].rows[key] = value
    recover(store)


def test_flipped_rows_of_ended_tasks_are_found_when_read() -> None:
    store = settled_store()
    found = recover(store)
    key, value = store.scan(Table.TASKS, limit=1)[0]
    store.tables[Table.TASKS].rows[key] = value[:-1] + bytes((value[-1] ^ 1,))
    with pytest.raises(JournalCorrupt, match="TASKS"):
        found.catalog.rows([key])
    with pytest.raises(JournalCorrupt):
        verify_rows(store, found.tally)


@pytest.mark.parametrize("table", [Table.LIVE, Table.TASKS])
def test_a_lost_row_is_found(table: Table) -> None:
    store = settled_store()
    store.tables[table].delete(store.scan(table, limit=1)[0][0])
    with pytest.raises(JournalCorrupt, match=table.name):
        recover(store)


def test_a_lost_newest_record_or_a_torn_commit_is_found() -> None:
    store = settled_store()
    driver = Driver(store, 3)
    driver.submit()
    driver.submit()
    driver.flush()
    store.tables[Table.EVENTS].delete(store.last(Table.EVENTS)[0])  # type: ignore[index]
    with pytest.raises(JournalCorrupt):
        recover(store)
    with pytest.raises(JournalCorrupt):
        fold_everything(driver.journal)


def test_a_lost_beginning_of_a_task_is_named_by_the_record_that_misses_it() -> None:
    store = MemoryStore()
    driver = Driver(store, 4)
    for _ in range(60):
        driver.act()
    driver.flush()
    begun = {event.task: seq for seq, event in driver.journal.read(1, 10_000) if isinstance(event, TaskSubmitted)}
    started = [(seq, event.task) for seq, event in driver.journal.read(1, 10_000) if isinstance(event, AttemptStarted)]
    task = next(task for _, task in started if task in begun)
    store.tables[Table.EVENTS].delete(seq_key(begun[task]))
    with pytest.raises(JournalCorrupt, match="is missing|does not chain|belongs to no commit|are missing") as caught:
        recover(store)
    assert caught.value.seq is not None


def test_a_damaged_payload_is_found_by_its_digest() -> None:
    store = MemoryStore()
    journal = Driver(store, 1).journal
    data = b"arguments"
    commit(store, journal.seal((), [(5, data), (6, data)]))
    digest = blake2b(data, digest_size=16).digest()
    store.tables[Table.PAYLOADS].rows[(6).to_bytes(8, "big")] = b"argumentz"
    assert journal.payload(5, digest) == data
    assert journal.payload(7, digest) is None
    assert journal.payload(6) == b"argumentz"
    with pytest.raises(JournalCorrupt, match="record 6") as caught:
        journal.payloads([5, 6, 7], [digest] * 3)
    assert caught.value.seq == 6

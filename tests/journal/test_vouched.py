"""What the chain says of records that a repair has put right."""

from __future__ import annotations

import pytest

from journeyman.journal.log import seq_key
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.record import GENESIS, encode_commit
from journeyman.journal.store import Batch, Table
from journeyman.journal.vouched import CONFIRMED, CONTRADICTED, NEWEST, UNKNOWN, vouched
from journeyman.kernel.events import AttemptStarted
from tests.journal.driver import commit

SIZES = (3, 1, 700, 2)  # records of the commits; the third is longer than a page
FIRSTS = (1, 4, 5, 705)


@pytest.fixture
def store() -> MemoryStore:
    store, head, seq = MemoryStore(), GENESIS, 1
    batch = Batch()
    for size in SIZES:
        items = [(at, AttemptStarted(at, "q", at, 1, bytes(16), 1, 1, 0, at)) for at in range(seq, seq + size)]
        records, head = encode_commit(items, head)
        batch.put(Table.EVENTS, records)
        seq += size
    commit(store, batch)
    return store


def change(store: MemoryStore, seq: int, at: int) -> None:
    value = bytearray(store.tables[Table.EVENTS].rows[seq_key(seq)])
    value[at] ^= 1
    store.tables[Table.EVENTS].rows[seq_key(seq)] = bytes(value)


def test_whole_commits_with_a_next_one_are_confirmed(store: MemoryStore) -> None:
    said = vouched(store, range(1, 707), {})
    assert [seq for seq, verdict in said.items() if verdict == CONFIRMED] == list(range(1, 705))
    assert said[705] == said[706] == NEWEST


def test_a_checkpoint_counts_as_a_next_one(store: MemoryStore) -> None:
    head = encode_commit([(707, AttemptStarted(1, "q", 1, 1, bytes(16), 1, 1, 0, 1))], bytes(16))[1]
    assert vouched(store, [706], {706: head}) == {706: CONTRADICTED}
    assert vouched(store, [706], {705: head}) == {706: NEWEST}


@pytest.mark.parametrize("seq", [5, 300, 704])
def test_another_record_than_was_written_is_found(store: MemoryStore, seq: int) -> None:
    change(store, seq, 40)
    assert set(vouched(store, range(5, 705), {}).values()) == {CONTRADICTED}
    assert vouched(store, [3, 4], {})[3] == CONFIRMED


@pytest.mark.parametrize(
    ("gone", "asked"), [(5, 6), (5, 704), (5, 4), (300, 5), (300, 299), (300, 704), (704, 5), (705, 704), (705, 706), (706, 705)]
)
def test_where_something_is_missing_nobody_knows(store: MemoryStore, gone: int, asked: int) -> None:
    store.tables[Table.EVENTS].delete(seq_key(gone))
    assert vouched(store, [asked], {}) == {asked: UNKNOWN}

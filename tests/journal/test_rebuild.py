"""A journal made of its records alone is the journal: events, payloads, chain, and whatever is made of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio.testing

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.identity import identity_batch, new_identity
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.parcel import Item, pages
from journeyman.journal.rebuild import rebuild
from journeyman.journal.recovery import check_records, recover, verify_indexes, verify_rows
from journeyman.journal.store import Batch, Store, Table
from tests.journal.driver import assert_same, picture
from tests.laws.errands import Errands, assert_consistent

END = (1 << 63) - 1


async def a_day(seed: int, steps: int = 120) -> MemoryStore:
    """What a random day at an engine leaves: checkpoints, prunes, retries, fenced words; two boots."""
    errands, store = Errands(seed), MemoryStore()
    for _ in range(2):
        async with errands.engine(store) as engine:
            await errands.day(engine, steps=steps)
    return store


def made_anew(store: Store, stage: int) -> MemoryStore:
    fresh = MemoryStore()
    fresh.commit(identity_batch(new_identity()))
    rebuild(fresh, pages(store, 0, END, exact=True), stage=stage)
    return fresh


def table(store: Store, which: Table) -> list[tuple[bytes, bytes]]:
    return store.scan(which, limit=1_000_000)


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_made_of_records_is_what_the_engine_had(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    store = await a_day(seed)
    seqs = [int.from_bytes(key, "big") for key, _ in table(store, Table.EVENTS)]
    assert any(b - a > 1 for a, b in pairwise(seqs)), "without holes the day proves too little"
    for stage in (20, 10_000):  # many checkpoints on the way, or one at the end
        fresh = made_anew(store, stage)
        for which in (Table.EVENTS, Table.PAYLOADS):
            assert table(fresh, which) == table(store, which)
        assert check_records(fresh) == len(seqs)
        found = assert_consistent(fresh)
        verify_rows(fresh, found.tally)
        verify_indexes(fresh, found.tally)
        assert (found.report.tail, found.report.cut_short) == (0, False)
        old = recover(store)
        assert_same(picture(found.state, found), picture(old.state, old))
        assert (found.journal.chain, found.journal.next_seq) == (old.journal.chain, old.journal.next_seq)
        assert found.journal.loose == [seq for seq in old.journal.loose if seq in seqs]


async def test_an_engine_goes_on_from_there(autojump_clock: trio.testing.MockClock) -> None:
    fresh = made_anew(await a_day(7), 50)
    errands = Errands(7)
    async with errands.engine(fresh) as engine:
        await errands.day(engine, steps=60)
    assert_consistent(fresh)


async def test_what_was_altered_does_not_come_in(autojump_clock: trio.testing.MockClock) -> None:
    store = await a_day(1, steps=60)
    whole = [item for page in pages(store, 0, END, exact=True) for item in page]
    n = len(whole) // 2  # how much a day leaves is chance: the ids of its tasks are
    spoilt = whole[n].value[:-1] + bytes((whole[n].value[-1] ^ 1,))
    with_payload = next(place for place, item in enumerate(whole) if item.payload)
    damages: dict[str, list[Item]] = {
        "its crc does not match": [*whole[:n], whole[n]._replace(value=spoilt), *whole[n + 1 :]],
        "are not what was stored": [
            *whole[:with_payload], whole[with_payload]._replace(payload=b"\x82\x80\xa0 "), *whole[with_payload + 1 :]
        ],
        "is not where it belongs": [*whole[:n], whole[n + 1], whole[n], *whole[n + 2 :]],
        "the newest commit": whole[: next(end for end in range(len(whole), 0, -1) if not whole[end - 1].value[2] & 2)],
    }  # fmt: skip
    for words, items in damages.items():
        with pytest.raises(JournalCorrupt, match=words):
            rebuild(MemoryStore(), [items])


async def test_a_payload_of_no_record_is_found_out(autojump_clock: trio.testing.MockClock) -> None:
    store = await a_day(1)
    there = {int.from_bytes(key, "big") for key, _ in table(store, Table.EVENTS)}
    hole = next(seq for seq in range(1, max(there)) if seq not in there)
    for seq in (END - 1, hole):
        batch = Batch()
        batch.put(Table.PAYLOADS, [(seq.to_bytes(8, "big"), b"\x80")])
        store.commit(batch)
        with pytest.raises(JournalCorrupt, match=f"of record {seq}, but no such record"):
            list(pages(store, 0, END, exact=True))

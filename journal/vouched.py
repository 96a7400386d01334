"""Whether the chain vouches for a record that was put right: what a repair may say of the bit that it turned back.

Problem.  A damaged record is put right where one change of a bit or byte makes its crc match.  That is nearly always what was written, but
a crc of 32 bits is no proof: of a record with more damage than that, one in some hundred thousand has a wrong answer too.  Choice: ask
the chain.  The hash over all records of a commit stands in the first record of the next one, 128 bits that no damage can have made to
fit.  So

- *confirmed*: the commit is whole, the next one is there, and carries its hash: every byte is as it was written;
- *contradicted*: both are there, and the hash is another one.  Some record of the commit is not what was written, so none of those that
  were put right in it is believed: they count as lost;
- *unknown*: prune or damage has taken records of the commit, or the first of the next one, or there is no next one yet.  Only the crc
  speaks for the record, and the report says so.

A checkpoint keeps the hash of the commit that it was taken behind: that counts as a next one.

A payload that was put right needs none of this: its digest has 128 bits itself.  Costs by the commits that are asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from journeyman.journal.digest import digest
from journeyman.journal.log import seq_key
from journeyman.journal.record import FIRST, LAST, chain_before, link
from journeyman.journal.store import Store, Table

CONFIRMED: Final = "the chain confirms it"
CONTRADICTED: Final = "the chain contradicts it"
UNKNOWN: Final = "its crc alone speaks for it: of its commit, or of the beginning of the next one, something is not there"
NEWEST: Final = "its crc alone speaks for it: no commit follows"
_PAGE: Final = 500


def vouched(store: Store, seqs: Iterable[int], heads: Mapping[int, bytes]) -> dict[int, str]:
    """What the chain says of each of these records, which are in `store`.

    `heads`: hashes of commits that are known otherwise, by the last seq of each.
    """
    said: dict[int, str] = {}
    end, verdict = 0, UNKNOWN
    for seq in sorted(seqs):
        if seq > end:  # of another commit than the one before
            end, verdict = _commit_of(store, seq, heads)
        said[seq] = verdict
    return said


def _commit_of(store: Store, seq: int, heads: Mapping[int, bytes]) -> tuple[int, str]:
    """The last seq that the answer is good for, and what is said of the commit that holds `seq`."""
    first = _beginning(store, seq)
    if first is None:
        return seq, UNKNOWN
    previous, hashes, hash, expected = b"", list[bytes](), b"", first
    while pairs := store.scan(Table.EVENTS, seq_key(expected), limit=_PAGE):
        for key, value in pairs:
            begins = bool(value[2] & FIRST)
            if int.from_bytes(key, "big") != expected or begins != (expected == first or bool(hash)):
                return seq, UNKNOWN
            if hash:
                return expected - 1, CONFIRMED if chain_before(value) == hash else CONTRADICTED
            if begins:
                previous = chain_before(value)
            hashes.append(digest(value))
            if value[2] & LAST:
                hash = link(previous, hashes)
                if (head := heads.get(expected)) is not None:
                    return expected, CONFIRMED if head == hash else CONTRADICTED
            expected += 1
    return (expected - 1, NEWEST) if hash else (seq, UNKNOWN)


def _beginning(store: Store, seq: int) -> int | None:
    """The first record of the commit of `seq`, if all from there to `seq` are there."""
    expected = seq
    while pairs := store.scan(Table.EVENTS, b"", seq_key(expected + 1), reverse=True, limit=_PAGE):
        for key, value in pairs:
            if int.from_bytes(key, "big") != expected or (value[2] & LAST and expected != seq):
                return None
            if value[2] & FIRST:
                return expected
            expected -= 1
    return None


__all__ = ["CONFIRMED", "CONTRADICTED", "NEWEST", "UNKNOWN", "vouched"]

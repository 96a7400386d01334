"""A chain head that somebody noted down, held against the journal as it is now.

The hash of a commit speaks for all commits before it, as long as every record of each is there.  Prune takes records out of
commits; behind such a commit the chain goes on with the hash that the next commit's first record carries.  So the head that somebody noted
proves, without doubt, the records from the last such place up to it.  What is older is checked (crc, order, and every commit that is
whole against its successor) but whoever can write the file could have made it anew; `Proof` says where that border is.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from journeyman.journal.log import seq_key
from journeyman.journal.record import FIRST
from journeyman.journal.scan import Reading
from journeyman.journal.store import Table

_HEAD: Final = re.compile(r"(\d+):([0-9a-f]{32})")


class Head(NamedTuple):
    """The newest commit: the seq it ends with, and its hash.  Note it down; it speaks for everything before it."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"

    @classmethod
    def read(cls, text: str) -> Head:
        """`SEQ:HASH`, as printed.  ValueError."""
        found = _HEAD.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError(
                f"{text!r} is no chain head: write SEQ:HASH as `journeyman verify` printed it, 32 hexadecimal digits after the :"
            )
        if not int(found[1]):
            raise ValueError(f"{text!r} is the head of no commit: seqs begin at 1")
        return cls(int(found[1]), bytes.fromhex(found[2]))


class Proof(NamedTuple):
    """What a head that was noted earlier says of the journal as it is.  What cannot be proved does not hold: a script asks for proof."""

    holds: bool
    proven_from: int  # records from here up to the head are those of that day; 0: none
    text: str


class Noted:
    """Waits in a reading for the commit that the head names."""

    def __init__(self, head: Head, reading: Reading) -> None:
        self.head = head
        self._reading = reading
        self._found: tuple[bytes, int] | None = None  # the hash of that commit, and from where on it is proven
        reading.wanted, reading.heard = head.seq, self._hear

    def _hear(self, hash: bytes) -> None:
        self._found = hash, self._reading.proven_from()

    def proof(self, first_seq: int) -> Proof:
        """What can be said when everything was read.  `first_seq`: the oldest record that is there."""
        seq = self.head.seq
        last = self._reading.next - 1
        if self._found is None:
            return self._by_its_successor(last)
        found, first = self._found
        if found != self.head.hash:
            return Proof(
                False, 0, f"the commit that ends with record {seq} hashes to {found.hex()}: history up to there is not what it was"
            )
        older = (
            ""
            if first <= first_seq
            else "; of older ones, whose commits are not whole any more, it proves nothing (crc and order are right)"
        )
        return Proof(True, first, f"records {first} to {seq} are those that the noted head speaks for{older}")

    def _by_its_successor(self, last: int) -> Proof:
        seq = self.head.seq
        if seq > last:
            return Proof(
                False, 0, f"the journal ends with record {last}, before the noted head: the newest history is gone, or it is another's"
            )
        after = self._reading.store.get(Table.EVENTS, seq_key(seq + 1))
        if after is None or not after[2] & FIRST or len(after) < 24:
            text = "cannot be compared: no commit ends there, or records around it were pruned.  Note newer heads more often"
            return Proof(False, 0, text)
        if after[8:24] != self.head.hash:
            return Proof(False, 0, f"record {seq + 1} names {after[8:24].hex()} as what came before it: history is not what it was")
        text = (
            f"cannot be proved any more: record {seq + 1} names the noted hash as what came before it, but records of the commit that ends "
            "there were pruned.  Note newer heads more often"
        )
        return Proof(False, 0, text)


__all__ = ["Head", "Noted", "Proof"]

"""One flipped bit in the write-ahead log, turned back, for `repair`.

Problem.  A commit of the log counts whole or not at all, by a digest over all of it: a single bit that the disk has turned would cost
every event of it, and a commit may have hundreds.  Choice: try.  Where the log ends with something that does not count, each of its bits
is turned in its turn until the digest is right, which 128 bits of digest say beyond doubt; what was never finished, or is older and half
written over, does not come right.  The records whose own crc is wrong are tried first, so most are found at once; the worst case, 32 KiB
that two bits have spoiled, is some seconds.

Rejected: the sound records of a commit that stays spoiled.  Nobody can tell one that was torn, which must not count, from one that was
whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from journeyman.journal.digest import begin
from journeyman.journal.scan import right_record
from journeyman.journal.wal import BODY_AT, FRONT, HEAD, MAGIC, SMALL, decode_at, decode_log, salt_of

_BITS: Final = tuple(1 << bit for bit in range(8))
_BLOCK: Final = 1 << 10


class Turned(NamedTuple):
    """A bit that was turned back."""

    seq: int  # of the event in whose record it is, or of the first of its commit
    offset: int  # of its byte, in the log


def mended_log(log: bytes) -> tuple[bytes, list[Turned]]:
    """The log with what could be put right."""
    turned: list[Turned] = []
    while salt_of(log) is not None:
        known = decode_log(log)
        at, last = (known[-1].end, known[-1].last) if known else (FRONT, None)
        change = _change(log, at, last)
        if change is None:
            break
        offset, bit = change
        log = b"".join((log[:offset], bytes((log[offset] ^ bit,)), log[offset + 1 :]))
        turned.append(Turned(_event_at(log, at, offset), offset))
    return log, turned


def _change(log: bytes, at: int, last: int | None) -> tuple[int, int] | None:
    """Which bit of which byte makes what stands at `at` a commit that follows event `last`; None if none does, or nothing stands there."""
    if len(log) - at < BODY_AT or not any(log[at : at + HEAD.size]):
        return None
    draft = bytearray(log[at : at + BODY_AT + SMALL])
    whole = log[:at]

    def right() -> bool:
        found = decode_at(whole + bytes(draft), at)
        return found is not None and (last is None or found.first == last + 1)

    magic, length, first, _ = HEAD.unpack_from(log, at)
    if magic == MAGIC and (last is None or first == last + 1) and BODY_AT + length <= len(draft):
        in_digest = _in_digest(log, at, length)
        if in_digest is not None:
            return in_digest
        in_body = _in_body(log, at, length)
        if in_body is not None:
            return in_body
    for offset in range(HEAD.size):
        for bit in _BITS:
            draft[offset] ^= bit
            if right():
                return at + offset, bit
            draft[offset] ^= bit
    return None


def _in_digest(log: bytes, at: int, length: int) -> tuple[int, int] | None:
    running = begin()
    running.update(log[4:FRONT] + log[at : at + HEAD.size])
    running.update(log[at + BODY_AT : at + BODY_AT + length])
    stored = log[at + HEAD.size : at + BODY_AT]
    wrong = [(at + HEAD.size + n, a ^ b) for n, (a, b) in enumerate(zip(stored, running.digest(), strict=True)) if a != b]
    return wrong[0] if len(wrong) == 1 and wrong[0][1] in _BITS else None


def _in_body(log: bytes, at: int, length: int) -> tuple[int, int] | None:
    start = at + BODY_AT
    body, running = bytearray(log[start : start + length]), begin()
    running.update(log[4:FRONT] + log[at : at + HEAD.size])
    states = []  # the hash of all that comes before each block
    for low in range(0, length, _BLOCK):
        states.append(running.copy())
        running.update(body[low : low + _BLOCK])
    stored = log[at + HEAD.size : start]
    for offset in _likely_first(log, at, length):
        low = offset - offset % _BLOCK
        for bit in _BITS:
            body[offset] ^= bit
            running = states[offset // _BLOCK].copy()
            running.update(body[low:])
            if running.digest() == stored:
                return start + offset, bit
            body[offset] ^= bit
    return None


def _likely_first(log: bytes, at: int, length: int) -> list[int]:
    """Every byte of the body: of records that are not sound, then behind the records, then of those that seem to be."""
    start = at + BODY_AT
    records = list(_records(log, at))
    suspects = [n for low, high, _, sound in records if not sound for n in range(low - start, high - start)]
    behind = range(records[-1][1] - start if records else 0, length)
    return list(dict.fromkeys((*suspects, *behind, *range(length))))


def _records(log: bytes, at: int) -> Iterator[tuple[int, int, int, bool]]:
    """Of the commit at `at`, as far as its lengths lead: (begin, end, seq, whether the crc is right) of each record, with its length."""
    _, length, first, count = HEAD.unpack_from(log, at)
    place, end = at + BODY_AT, at + BODY_AT + length
    for seq in range(first, first + count):
        high = place + 4 + int.from_bytes(log[place : place + 4], "big")
        if high > end or high - place < 12:
            return
        yield place, high, seq, right_record(seq.to_bytes(8, "big"), log[place + 4 : high])
        place = high


def _event_at(log: bytes, at: int, offset: int) -> int:
    places: Iterable[tuple[int, int, int, bool]] = _records(log, at)
    first: int = HEAD.unpack_from(log, at)[2]
    return next((seq for low, high, seq, _ in places if low <= offset < high), first)


__all__ = ["Turned", "mended_log"]

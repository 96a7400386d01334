"""Canonical CBOR of the three events that every task has, by putting pieces together.

Problem.  The general encoder spends 1.4 us on an event, more than on anything else that is done with it, and most of an event
repeats the one before: the same queue, handler, instant, epoch.  Choice: what repeats is encoded once and kept; the rest are
integers and 16-byte strings, whose CBOR is a prefix and the bytes.  0.4 to 0.6 us, and the same bytes: tests/journal/test_hot.py
compares the two encoders over everything that events may hold. Rejected: a C extension (one more thing to build), a template
with holes of fixed width (canonical CBOR wants the shortest integers).
"""

from __future__ import annotations

from typing import Final

from journeyman.journal.cbor import encode
from journeyman.kernel.events import AttemptStarted, TaskSubmitted, TaskSucceeded

_SMALL: Final = tuple(encode(n) for n in range(256))
_BYTES_16: Final = b"\x50"
_NO_RESULT: Final = b"\x00\x40\x00\xf6"  # size, digest, codec, options


def uint(n: int) -> bytes:
    """Canonical CBOR of a whole number."""
    if n < 256:
        return _SMALL[n] if n >= 0 else encode(n)
    if n < 65_536:
        return b"\x19" + n.to_bytes(2, "big")
    if n < 4_294_967_296:
        return b"\x1a" + n.to_bytes(4, "big")
    if n < 1 << 64:
        return b"\x1b" + n.to_bytes(8, "big")
    return encode(n)


class HotEncoder:
    """Keeps the pieces of the last event of each kind.  For events whose `options` are None."""

    __slots__ = (
        "_at", "_epoch", "_epoch_piece", "_expires_at", "_prefix", "_queue", "_run", "_run_piece", "_shared", "_submit_pieces",
        "_tail_piece",
    )  # fmt: skip

    def __init__(self) -> None:
        self._at = self._epoch = -1
        self._queue = ""
        self._prefix = self._epoch_piece = self._tail_piece = b""
        self._shared: tuple[int, str, int, str, int, int, int, int] | None = None  # what submits of one commit have in common
        self._submit_pieces = (b"", b"", b"", b"")
        self._run = (-1, -1, -1, -1)  # what starts of one commit have in common: attempt, cost, bucket, when they became due
        self._run_piece = b""
        self._expires_at: int | None = -1

    def _head(self, at: int, queue: str, qseq: int, epoch: int, task: bytes) -> bytes:
        """The five fields that every task event begins with."""
        if at != self._at or queue != self._queue:
            self._at, self._queue = at, queue
            self._prefix = uint(at) + encode(queue)
        if epoch != self._epoch:
            self._epoch = epoch
            self._epoch_piece = uint(epoch) + _BYTES_16
        if 255 < qseq < 65_536:  # as `uint`, without the call
            place = b"\x19" + qseq.to_bytes(2, "big")
        else:
            place = b"\x1a" + qseq.to_bytes(4, "big") if 65_535 < qseq < 4_294_967_296 else uint(qseq)
        return self._prefix + place + self._epoch_piece + task

    def submitted(self, event: TaskSubmitted) -> bytes:
        at, queue, qseq, epoch, task, handler, priority, due_at, due_kind, size, digest, codec, key_id, _ = event
        if len(task) != 16 or len(digest) != 16 or key_id is not None:
            return encode(event)
        shared = (at, queue, epoch, handler, priority, due_at, due_kind, codec)
        if shared != self._shared:
            self._shared = shared
            self._submit_pieces = (
                b"\x8e" + uint(at) + encode(queue),
                uint(epoch) + _BYTES_16,
                encode(handler) + uint(priority) + uint(due_at) + uint(due_kind),
                uint(codec) + b"\xf6\xf6",
            )
        before, fence, order, after = self._submit_pieces
        if 255 < qseq < 65_536:
            place = b"\x19" + qseq.to_bytes(2, "big")
        else:
            place = b"\x1a" + qseq.to_bytes(4, "big") if 65_535 < qseq < 4_294_967_296 else uint(qseq)
        length = _SMALL[size] if 0 <= size < 256 else uint(size)
        return b"".join((before, place, fence, task, order, length, _BYTES_16, digest, after))

    def started(self, event: AttemptStarted) -> bytes:
        at, queue, qseq, epoch, task, attempt, cost, tat_at, eligible_at, _ = event
        if len(task) != 16:
            return encode(event)
        run = (attempt, cost, tat_at, eligible_at)
        if run != self._run:
            self._run = run
            self._run_piece = uint(attempt) + uint(cost) + uint(tat_at) + uint(eligible_at) + b"\xf6"
        return b"\x8a" + self._head(at, queue, qseq, epoch, task) + self._run_piece

    def succeeded(self, event: TaskSucceeded) -> bytes:
        at, queue, qseq, epoch, task, attempt, elapsed_us, expires_at, keep_payload, size, digest, codec, _ = event
        if len(task) != 16 or len(digest) > 16:
            return encode(event)
        if expires_at != self._expires_at:
            self._expires_at = expires_at
            self._tail_piece = b"\xf6" if expires_at is None else uint(expires_at)
        head = self._head(at, queue, qseq, epoch, task)
        keep = b"\xf5" if keep_payload else b"\xf4"
        run = _SMALL[attempt] if 0 <= attempt < 256 else uint(attempt)
        if size or codec or digest:
            result = uint(size) + bytes((0x40 + len(digest),)) + digest + uint(codec) + b"\xf6"
        else:
            result = _NO_RESULT
        return b"".join((b"\x8d", head, run, uint(elapsed_us), self._tail_piece, keep, result))

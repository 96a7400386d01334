"""The bytes of an ended task's row, by putting pieces together.

Problem.  Every ended task is encoded once by the checkpoint that writes its row, and again by every `verify` and `replay`, to be compared
with it; the general encoder takes 6 us for the forty columns of a row, a third of what a replay costs.  Choice, as for events (hot.py):
columns that repeat from task to task are encoded once and kept; numbers of known width are packed together.  Only the regular row is made
here: a task without options that was started and has ended, with instants of our time and seqs of at most four bytes.  For all others
(the cancelled, those with a key or a deadline) the answer is None, and the general encoder is asked.
2 us, and the same bytes: tests/journal/test_hot_row.py compares the two.

Rejected: decoding the stored row and comparing columns (as fast, but 1, 1.0 and True are equal to Python, and so are two encodings of
one number: the bytes are what is proved); one struct for the whole row (text columns lie between the numbers).
"""

from __future__ import annotations

from struct import Struct, error
from typing import Final

from journeyman.journal.cbor import encode_flat
from journeyman.journal.hot import uint
from journeyman.kernel.taskstate import TaskState

_ARRAY_OF_40: Final = b"\x98\x28"
_NULL: Final = b"\xf6"
_LENGTH: Final = {0: b"\x40", 16: b"\x50"}  # of a digest
_LOWEST_SEQ, _HIGHEST_SEQ = 1 << 16, (1 << 32) - 1  # four bytes behind 0x1a
_LOWEST_INSTANT: Final = 1 << 32  # eight bytes behind 0x1b
_KEPT: Final = 4_096
_DUE: Final = Struct(">BQBBQBQBQBQ")  # due_at, due_kind, first_due, submitted_at, started_at, finished_at
_SEQ: Final = Struct(">BI")
_THREE_SEQS: Final = Struct(">BIBIBI")


_kept: dict[tuple[str, str, str, int, int, int, int], bytes] = {}


def _what(kind: tuple[str, str, str, int, int, int, int]) -> bytes:
    """queue, handler, state, attempt, failures, crashes, priority; from now on known."""
    if len(_kept) >= _KEPT:
        _kept.clear()
    found = _kept[kind] = b"".join(map(encode_flat, kind))
    return found


def _packed(seqs: tuple[int, ...]) -> bytes:
    return b"".join([_SEQ.pack(0x1A, one) for one in seqs])


def quick_row(task: TaskState) -> bytes | None:
    """Canonical CBOR of `task.row()`, if it is regular."""
    later, seq, last, result_seq = task.later, task.seq, task.last_seq, task.result_seq
    started_at, finished_at, elapsed, expires_at = task.started_at, task.finished_at, task.elapsed_us, task.expires_at
    due_at, first_due, submitted_at, due_kind = task.due_at, task.first_due, task.submitted_at, task.due_kind
    id, payload_digest, result_digest = task.id, task.payload_digest, task.result_digest
    if (
        started_at is None or finished_at is None or len(id) != 16 or last > _HIGHEST_SEQ
        or not 0 < len(later) < 23 or later[-1] != last or task.payload_seq != seq or result_seq not in (0, last)
        or due_at < _LOWEST_INSTANT or first_due < _LOWEST_INSTANT or submitted_at < _LOWEST_INSTANT
        or started_at < _LOWEST_INSTANT or finished_at < _LOWEST_INSTANT or not 0 <= due_kind < 24
        or len(payload_digest) not in _LENGTH or len(result_digest) not in _LENGTH
        or task.options is not None or task.cancel is not None or task.rejected is not None
        or task.waits_for is not None or task.latest_at is not None or task.first_digest
    ):  # fmt: skip
        return None
    kind = (task.queue, task.handler, task.state._value_, task.attempt, task.failures, task.crashes, task.priority)
    if seq < _LOWEST_SEQ:  # a young journal, and nearly every simulated one
        pieces = [uint(seq), *map(uint, later)]
        places, first, final = b"".join(pieces), pieces[0], pieces[-1]
    else:
        places = _THREE_SEQS.pack(0x1A, seq, 0x1A, later[0], 0x1A, last) if len(later) == 2 else _packed(task.seqs)
        first, final = places[:5], places[-5:]
    key_id, wrong, reason, message, progress = task.key_id, task.error, task.reason, task.message, task.progress_ppm
    try:
        return b"".join((
            _ARRAY_OF_40, b"\x50", id, first,
            _kept.get(kind) or _what(kind),
            _DUE.pack(0x1B, due_at, due_kind, 0x1B, first_due, 0x1B, submitted_at, 0x1B, started_at, 0x1B, finished_at),
            _NULL if expires_at is None else uint(expires_at), _NULL if elapsed is None else uint(elapsed),
            uint(task.epoch), uint(task.payload_len),
            _LENGTH[len(payload_digest)], payload_digest,
            uint(task.codec), _NULL if key_id is None else encode_flat(key_id), b"\xf5\xf6" if task.keep_payload else b"\xf4\xf6",
            uint(task.result_len), _LENGTH[len(result_digest)], result_digest, uint(task.result_codec), final if result_seq else b"\0",
            _NULL if wrong is None else encode_flat(wrong),
            _NULL if reason is None else encode_flat(reason), _NULL if message is None else encode_flat(message),
            _NULL if progress is None else uint(progress), _NULL,
            _SMALL_ARRAY[len(later) + 1], places, final, _NULL, first, b"\xf6\xf6\x40",
        ))  # fmt: skip
    except error:  # a number beyond 64 bits
        return None


_SMALL_ARRAY: Final = tuple(bytes((0x80 + n,)) for n in range(24))

__all__ = ["quick_row"]

"""Task ids: UUID version 7 (RFC 9562), strictly increasing within a thread of a process.

Problem.  An id must sort by time, must never repeat, must be equal for equal seeds in a simulation, and must cost little: every submit
mints one.  Choice: the 48 bits of milliseconds come from the instant that the caller passes in, the other 74 from the entropy it was
given, drawn once for each new millisecond; further ids of the same millisecond count up from there.  When the clock stands still or falls
behind, the count goes on from the last id, so order within a process never breaks (a carry runs into the milliseconds, which is what RFC
9562 section 6.2 allows). Two processes collide only if they draw neighbouring numbers of 73 bits in one millisecond.  Ids are not
secrets: neighbours can be guessed.

The engines of one thread that go by the system's clock share a source, so that order holds across them, also when one closes and the next
opens.  Threads have one each, as a source takes no lock; a forked child begins a new one.

Rejected: fresh entropy for every id (a system call each), and `uuid.UUID` objects (1.5 us to build and print).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

from journeyman.kernel.ids import id_bytes, id_text

_VERSION: Final = 0x7 << 12
_MIDDLE: Final = 0xFFF
_VARIANT: Final = 0x2 << 62
_LOW: Final = (1 << 62) - 1


class IdSource:
    """Mints ids.  `entropy(n)` returns n random bytes; a simulation passes a seeded one."""

    __slots__ = ("_entropy", "_head", "_high", "_low", "_ms")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._ms = -1
        # The last id without its six fixed bits, milliseconds and 74 bits below them: all but its lowest 62 bits, and these.
        self._high, self._low = -1, _LOW
        self._head = b""  # the first eight bytes, which the ids of a millisecond share

    def mint(self, now: int) -> bytes:
        """A new id of 16 bytes for the instant `now` (microseconds UTC), greater than every id before it."""
        if now // 1000 > self._ms or self._low == _LOW:
            self._begin(now // 1000)
        else:
            self._low += 1
        return self._head + (_VARIANT | self._low).to_bytes(8, "big")

    def _begin(self, ms: int) -> None:
        """Take the next id in another head: that of a new millisecond, or the one after it where 62 bits have been counted through."""
        value = (self._high << 62 | self._low) + 1
        if ms > self._ms:
            self._ms = ms
            # One bit is left clear, so that counting up cannot soon carry into the milliseconds.
            value = max(value, ms << 74 | int.from_bytes(self._entropy(10), "big") >> 7)
        self._high, self._low = value >> 62, value & _LOW
        self._head = (self._high >> 12 << 16 | _VERSION | self._high & _MIDDLE).to_bytes(8, "big")


_of_thread = threading.local()
os.register_at_fork(after_in_child=_of_thread.__dict__.clear)


def thread_source() -> IdSource:
    """The source of this thread, with the system's entropy."""
    source: IdSource | None = getattr(_of_thread, "source", None)
    if source is None:
        source = _of_thread.source = IdSource(os.urandom)
    return source


__all__ = ["IdSource", "id_bytes", "id_text", "thread_source"]

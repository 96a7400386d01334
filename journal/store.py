"""The seam between the journal and what keeps its bytes: atomic durable appends, ordered reads.

Problem.  The journal must run on LMDB in production, in memory in tests, on a disk that lies in simulation, and one day on a
server.  Choice: a store knows tables of byte keys and byte values and one promise, `begin_append`: a batch becomes durable
whole or not at all, and batches become durable in the order in which they were given.  It knows no events.

Rejected: an `await store.append()`.  A store would then need an async library, and the layers say it has none; a callback suits a
thread (LMDB), an inline call (memory) and virtual latency (simulation) alike.

The tables (docs/FORMAT.md gives their keys and values):

    META       small named records: identity, checkpoint, tally, queue facts
    EVENTS     seq -> record                       append only, pruned by whole tasks
    PAYLOADS   seq of the owning event -> bytes    append only; a dropped payload is a deleted key
    LIVE       seq of submission -> row            tasks that the newest checkpoint keeps in memory
    TASKS      id -> row                           ended tasks that memory has let go
    BY_STATE   queue, state, seq -> id             the same, for listing
    BY_EXPIRY  expires_at, seq -> id               the same, for retention
    KEYVALUES  namespace, key -> seq      the application's own values: which event speaks for a key
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol


class Table(IntEnum):
    """Numbers are names on disk: never renumbered."""

    META = 0
    EVENTS = 1
    PAYLOADS = 2
    LIVE = 3
    TASKS = 4
    BY_STATE = 5
    BY_EXPIRY = 6
    KEYVALUES = 7


Items = list[tuple[bytes, bytes]]
Done = Callable[[BaseException | None], None]


class Batch:
    """One atomic commit.  Deletes happen before puts; deleting what is not there is no error.

    A put marked `append` promises ascending keys beyond the table's last one; the store fails the batch if that does not hold.
    """

    __slots__ = ("deletes", "puts")

    def __init__(self) -> None:
        self.puts: list[tuple[Table, Items, bool]] = []
        self.deletes: list[tuple[Table, list[bytes]]] = []

    def put(self, table: Table, items: Items, *, append: bool = False) -> None:
        if items:
            self.puts.append((table, items, append))

    def delete(self, table: Table, keys: list[bytes]) -> None:
        if keys:
            self.deletes.append((table, keys))

    def absorb(self, other: Batch) -> None:
        """Make `other` part of this commit."""
        self.puts += other.puts
        self.deletes += other.deletes

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes)


class Gauge(NamedTuple):
    """How full the store is.  Bytes; `reader_lag` is the number of commits since the oldest open read began."""

    map_size: int
    map_used: int
    disk_free: int
    disk_size: int
    readers: int
    reader_lag: int
    reusable: int = 0  # of `map_used`: what was freed, and is written over before the file grows


class Store(Protocol):
    """Every method may be called on the event loop: none of them waits for the disk except reads of cold pages."""

    def begin_append(self, batch: Batch, done: Done) -> None:
        """Hand over one commit.  `done` is called exactly once, from any thread, perhaps before this returns: None when the batch is
        durable, else what went wrong, after which the outcome is unknown and every later batch fails too."""
        ...

    def get(self, table: Table, key: bytes) -> bytes | None: ...

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]: ...

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        """At most `limit` pairs with start <= key < stop, ascending; with `reverse` the highest first.  Copies; nothing stays open."""
        ...

    def last(self, table: Table) -> tuple[bytes, bytes] | None: ...

    def count(self, table: Table) -> int: ...

    def gauge(self) -> Gauge: ...

    def space(self) -> tuple[int, int]:
        """(bytes free, bytes in all) on the disk: the part of the gauge that is wanted at every commit."""
        ...

    def tend(self) -> None:
        """Housekeeping, wanted once a minute: free what dead readers hold."""
        ...

    def enter(self, slot: int, seq: int) -> None:
        """Mark that the handler of the attempt started by event `seq` was entered.  Survives the death of the process, at no cost of a
        sync."""
        ...

    def leave(self, slot: int) -> None: ...

    def entered(self, through: int | None = None) -> set[int]:
        """All marks now set.  After an open, those that the last boot left behind.

        `through`: the newest event.  A mark beyond it is of a start that a power cut has taken back; it is removed, or another start that
        gets the same seq would find it set.
        """
        ...

    def give_way(self) -> int:
        """On a full disk: free what was reserved for that.  The bytes freed."""
        ...

    def close(self) -> None: ...

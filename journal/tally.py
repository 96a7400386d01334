"""What the tables of rows hold right now, kept exactly, commit by commit.

Problem.  Three hands write rows: the checkpoint, prune, and recovery after a checkpoint that was cut short.  Readers want counts in no
time, `verify` wants a digest, and nobody may scan the history for them.  Choice: one record, META "tally", is part of every commit that
touches LIVE or TASKS, and says how many rows there are per queue and state and the sum of their digests.  It describes the disk as that
commit leaves it, whether or not a checkpoint is complete.

An ended task is either *settled* (on disk, not in memory) or in memory, whatever the disk says of it.  Tasks that are both are `shadowed`:
memory speaks for them, the catalog is silent.  Tasks whose prune is sealed but not durable are `leaving`: silent too.

`shadowed` is also what the next checkpoint needs to take an old row out when the task was retried or written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.row import CODE_OF_VALUE, STATE_CODE, STATE_OF_CODE, Place, add_digest, decode_named, encode_named
from journeyman.journal.store import Batch, Store, Table
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import TaskState

TALLY: Final = b"tally"


class Tally:
    """Counts, digest and queue ordinals of the rows on disk.  Changed while a batch is put together, in the order of the batches."""

    def __init__(self, stored: dict[str, Any] | None = None) -> None:
        stored = stored or {"live": 0, "digest": bytes(16), "queues": {}}
        self.live: int = stored["live"]
        self.digest = int.from_bytes(stored["digest"], "big")
        self.ordinals: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.counts: dict[int, dict[int, int]] = {}  # queue ordinal -> state code -> rows in TASKS
        self.shadow_counts: dict[tuple[int, int], int] = {}
        self.shadowed: dict[bytes, Place] = {}
        self.leaving: dict[bytes, int] = {}  # id -> seq of a task whose prune is under way
        for name, (ordinal, counts) in stored["queues"].items():
            self.ordinals[name] = ordinal
            self.names[ordinal] = name
            self.counts[ordinal] = {STATE_CODE[State(state)]: n for state, n in counts.items()}

    @classmethod
    def load(cls, store: Store) -> Tally:
        return cls(decode_named(TALLY, store.get(Table.META, TALLY)))

    def ordinal(self, queue: str) -> int:
        """The number of a queue in keys; given out once, never reused."""
        ordinal = self.ordinals.get(queue)
        if ordinal is None:
            ordinal = self.ordinals[queue] = len(self.ordinals) + 1
            self.names[ordinal] = queue
            self.counts[ordinal] = {}
        return ordinal

    def place(self, task: TaskState) -> Place:
        """Where an ended task's row belongs."""
        return Place(
            task.id, task.seq, self.ordinals.get(task.queue) or self.ordinal(task.queue), CODE_OF_VALUE[task.state], task.expires_at
        )

    def added(self, places: Sequence[Place], digest: int) -> None:
        """Rows were put into TASKS, in places not taken; memory still holds the tasks.  `digest`: of all of them."""
        self.digest = add_digest(self.digest, digest)
        counted: dict[tuple[int, int], int] = {}
        for place in places:
            id, _, ordinal, code, _ = place
            self.shadowed[id] = place
            counted[ordinal, code] = counted.get((ordinal, code), 0) + 1
        for (ordinal, code), n in counted.items():
            counts = self.counts[ordinal]
            counts[code] = counts.get(code, 0) + n
            self.shadow_counts[ordinal, code] = self.shadow_counts.get((ordinal, code), 0) + n

    def removed(self, place: Place, digest: int) -> None:
        """A row was taken out of TASKS."""
        self.counts[place.ordinal][place.code] -= 1
        self.digest = add_digest(self.digest, -digest)
        if self.shadowed.get(place.id) == place:
            self.unshadow(place.id)

    def shadow(self, place: Place) -> None:
        self.unshadow(place.id)
        self.shadowed[place.id] = place
        key = (place.ordinal, place.code)
        self.shadow_counts[key] = self.shadow_counts.get(key, 0) + 1

    def unshadow(self, id: bytes) -> None:
        """The catalog speaks for the task again."""
        place = self.shadowed.pop(id, None)
        if place is not None:
            self.shadow_counts[place.ordinal, place.code] -= 1

    def count(self, queue: str, state: State) -> int:
        """Settled tasks of a queue in a terminal state, those past their expiry included."""
        ordinal = self.ordinals.get(queue)
        if ordinal is None:
            return 0
        code = STATE_CODE[state]
        return self.counts[ordinal].get(code, 0) - self.shadow_counts.get((ordinal, code), 0)

    def total(self) -> int:
        """Rows in TASKS."""
        return sum(n for counts in self.counts.values() for n in counts.values())

    def record(self) -> tuple[bytes, bytes]:
        """The META pair that must be part of the commit these changes are in."""
        queues = {
            name: [ordinal, {STATE_OF_CODE[code].value: n for code, n in self.counts[ordinal].items() if n}]
            for name, ordinal in self.ordinals.items()
        }
        return encode_named(TALLY, {"live": self.live, "digest": self.digest.to_bytes(16, "big"), "queues": queues})

    def put_into(self, batch: Batch) -> None:
        batch.put(Table.META, [self.record()])

    def left(self, ids: Iterable[bytes]) -> None:
        """A prune is durable."""
        for id in ids:
            self.leaving.pop(id, None)

    def check(self, store: Store) -> None:
        """Compare the numbers of rows with the tables.  JournalCorrupt when rows were lost or came from elsewhere."""
        for table, expected in ((Table.LIVE, self.live), (Table.TASKS, self.total())):
            found = store.count(table)
            if found != expected:
                raise JournalCorrupt(
                    f"table {table.name} holds {found} rows where {expected} were written: restore a backup, or rebuild from the events"
                )

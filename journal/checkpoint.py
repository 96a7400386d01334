"""Checkpoints: the state as of one seq, written bit by bit while the engine goes on, so that recovery reads live tasks and a tail instead
of history.

Problem.  Writing everything at once stops the world; writing bit by bit writes rows of different instants; and a crash may come between any
two commits.  A checkpoint must also not cost what a task's life costs: most tasks are born and die between two checkpoints.

Choice: incremental, exact, and harmless when cut short.

1. Incremental.  The journal notes which tasks events touched (`Journal.dirty`).  `begin` at seq S takes that set; only its tasks get new
   rows.
2. Exact.  Every row says the state as of S.  A task about to change while its row is unwritten is encoded first (`before_apply`, copy on
   write); so are, all at once, the rows before a ClockStepped, which moves every waiting task.  The facts of the queues are few and are
   encoded in `begin`.
3. Rows of tasks that memory must hold after recovery go to LIVE, keyed by seq of submission: one sequential scan reads them.  Rows of ended
   tasks go to TASKS with index entries, and memory lets go of them (`settle`) when the checkpoint is durable, unless they changed
   meanwhile.  An ended task that LIVE holds is overwritten there with its ended row, and only swept out of LIVE after the checkpoint is
   durable.  An ended task that has expired when its turn comes gets a row in LIVE only: no index ever hears of it, prune takes it.
4. The last commit of the rows writes META "checkpoint" (S, chain hash, facts) and the queues' facts, all at once.  Until then META
   "progress" says that a checkpoint as of S' is under way.

Why a crash at any point is harmless.  Let S be the newest complete checkpoint, and rows of an incomplete one as of S' > S lie beside its
rows.
- Each row carries the seq as of which it holds.  Nothing before the final commit deletes a row from LIVE, so every task that was live at S
  is in LIVE, with a row as of S or older (untouched since: still true at S) or with a row as of S'.
- A row as of S' is not used.  If the task was submitted after S, the tail makes it.  Else its state at S is the fold of its own events up
  to S, which are all still there (prune takes whole tasks), together with the clock's steps.  So recovery begins with exactly the state at
  S, and the ordinary fold of the tail follows; the kernel knows nothing of checkpoints.
- Rows that the cut-off checkpoint put into TASKS belong to tasks that the tail touches, so they are in memory after the fold: recovery
  looks them up and marks them shadowed, and the next checkpoint takes them out or writes them anew.  A task settled at S and retried after
  it was in TASKS at S; if the cut-off checkpoint removed that row, TaskRetried brings the whole row along.
- Counts and digest (tally.py) are exact for the disk after every single commit, complete or not.
The tests cut between every two chunks, and compare the recovered state with a fold of everything.

Rejected: rows overwritten in place with a guard `seq > row.last_seq` in the fold (every event would pay for it, and the limiter's and
queue's facts need a second guard); a generation of tables per checkpoint (incremental no more); fuzzy rows without copy on write (no digest
to compare a full fold with).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from journeyman.journal.log import Journal, seq_key
from journeyman.journal.row import Place, decode_rows, digest_stored, encode_body, encode_named, expiry_key, stamp_row
from journeyman.journal.store import Batch, Items, Table
from journeyman.journal.tally import Tally
from journeyman.kernel.events import ClockStepped, Event, TaskRetried
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState

CHECKPOINT: Final = b"checkpoint"
PROGRESS: Final = b"progress"
QUEUE_FACTS: Final = b"queue/"


class _Row(NamedTuple):
    """A task as of S, encoded."""

    task: bytes
    queue: str
    last_seq: int
    live: tuple[bytes, bytes, int] | None  # key, value, digest for LIVE
    ended: tuple[bytes, bytes, int] | None  # the same for TASKS
    place: Place | None


class Checkpoint:
    """The checkpoints of one journal, one at a time.

    The caller: `begin` when everything up to `through_seq` is sealed; then `next_chunk` again and again, each time after the previous chunk
    is durable, until it returns None; and before every fold while `unwritten` is not empty, `before_apply`.
    """

    def __init__(self, journal: Journal, tally: Tally, *, through_seq: int = 0, live_bound: int = 0) -> None:
        self.through_seq = through_seq  # of the newest complete checkpoint
        self.live_bound = max(through_seq, live_bound)  # no task submitted after it has a row in LIVE
        self.unwritten: dict[bytes, str] = {}  # ids whose row of the running checkpoint is not encoded yet -> queue
        self.settled = 0  # tasks memory let go of in the newest checkpoint
        self.seq: int | None = None  # of the running checkpoint
        self._journal = journal
        self._tally = tally
        self._world: JournalState | None = None
        self._taken: list[bytes] = []  # all ids of the running one, in the order in which they were first touched: LIVE grows in order
        self._order: Iterator[bytes] = iter(())
        self._now = 0
        self._encoded: list[_Row] = []  # encoded ahead of their turn
        self._written: list[tuple[str, Place, int]] = []  # queue, place and last seq of rows in TASKS, to be settled
        self._swept: list[tuple[bytes, int]] = []  # LIVE key and digest of rows to be swept out
        self._finals: Items = []
        self._facts: dict[str, bytes] = {}  # queue -> its facts as last written
        self._started = False
        self._final_sent = False

    @property
    def running(self) -> bool:
        return self.seq is not None

    @property
    def complete(self) -> bool:
        """Whether the running one has all its rows written: what is left of it only gives back."""
        return self._final_sent

    def begin(self, world: JournalState, through_seq: int, now: int) -> int:
        """Freeze the state as of `through_seq`, the newest seq folded and sealed.  `now`: kernel time.  How many rows are to be written.

        ValueError when one is under way or `through_seq` is not what was sealed last.
        """
        if self.running:
            raise ValueError("a checkpoint is under way")
        journal = self._journal
        if through_seq != journal.sealed or journal.next_seq != journal.sealed + 1:
            raise ValueError(
                f"a checkpoint as of {through_seq} needs everything up to it sealed and nothing taken beyond ({journal.sealed})"
            )
        self.seq, self._world, self._now = through_seq, world, now
        self.unwritten, journal.dirty = journal.dirty, {}
        if journal.stepped:
            for name, queue in world.queues.items():
                self.unwritten.update(dict.fromkeys(queue.tasks, name))
            journal.stepped = False
        self._taken = list(self.unwritten)
        self._order = iter(self._taken)
        self._finals = self._final_records(world, through_seq)
        self._started = self._final_sent = False
        self.settled = 0
        return len(self.unwritten)

    def give_up(self) -> None:
        """Leave the running checkpoint as a crash would leave it: there is no room for the rest, and prunes wait for it to end.

        What it has written is harmless (see above), and the next one takes its tasks again.  Only when the last chunk is durable.
        """
        if self.seq is None or self._final_sent:
            return
        assert self._world is not None
        dirty, queues = self._journal.dirty, self._world.queues
        for id in self._taken:
            if id not in dirty and (name := next((name for name, queue in queues.items() if id in queue.tasks), None)) is not None:
                dirty[id] = name
        if self._started:
            self.live_bound = max(self.live_bound, self.seq)
        self.unwritten, self._taken, self._order, self._encoded, self._written, self._swept = {}, [], iter(()), [], [], []
        self._facts = {}
        self.seq = self._world = None

    def _final_records(self, world: JournalState, through_seq: int) -> Items:
        journal = self._journal
        finals = [
            encode_named(
                CHECKPOINT,
                {
                    "seq": through_seq,
                    "chain": journal.chain,
                    "facts": world.facts(),
                    "loose": list(journal.loose),
                    "steps": list(journal.steps),
                },
            )
        ]
        for name, queue in world.queues.items():
            key, value = encode_named(QUEUE_FACTS + name.encode(), queue.facts())
            if self._facts.get(name) != value:
                self._facts[name] = value
                finals.append((key, value))
        return finals

    # --- copy on write ----------------------------------------------------------------------------------------------------

    def before_apply(self, event: Event) -> None:
        """Keep what `event` is about to change.  Call it before the fold of every event while `unwritten` is not empty, and of every
        TaskRetried."""
        kind = type(event)
        if kind is ClockStepped:
            while self.unwritten:
                self._encode_next()
            return
        if len(event) > 4:
            id = event[4]
            if isinstance(id, bytes) and id in self.unwritten:
                self._encode(id, self.unwritten.pop(id))
        if kind is TaskRetried:
            self._revive(event.task)  # type: ignore[union-attr]

    def _revive(self, id: bytes) -> None:
        """A settled task comes back into memory: the catalog falls silent about it, and the next checkpoint takes its row out."""
        if id in self._tally.shadowed:
            return
        value = self._journal.store.get(Table.TASKS, id)
        if value is not None:
            self._tally.shadow(self._tally.place(decode_rows(Table.TASKS, [(id, value)])[0][0]))

    def encode_all(self) -> None:
        """Encode every row that is still unwritten, because the state is about to be replaced by one read anew."""
        while self.unwritten:
            self._encode_next()

    def _encode_next(self) -> None:
        for id in self._order:
            queue = self.unwritten.pop(id, None)
            if queue is not None:
                self._encode(id, queue)
                return

    def _encode(self, id: bytes, queue: str) -> None:
        assert self._world is not None
        assert self.seq is not None
        holder: QueueState | None = self._world.queues.get(queue)
        task: TaskState | None = None if holder is None else holder.tasks.get(id)
        if task is None or task.seq > self.seq:  # pruned meanwhile
            return
        body = encode_body(task)
        live = ended = place = None
        if task.finished_at is None:
            live = stamp_row(seq_key(task.seq), body, self.seq)
        else:
            expired = task.expires_at is not None and task.expires_at <= self._now
            if expired or task.seq <= self.live_bound:
                live = stamp_row(seq_key(task.seq), body, self.seq)
            if not expired:
                ended = stamp_row(id, body, self.seq)
                place = self._tally.place(task)
        self._encoded.append(_Row(id, queue, task.last_seq, live, ended, place))

    # --- chunks -----------------------------------------------------------------------------------------------------------

    def next_chunk(self, max_rows: int) -> Batch | None:
        """The next commit's part, at most `max_rows` rows; None when the checkpoint is over.  Only when the previous chunk is durable."""
        if self.seq is None:
            return None
        if not self._final_sent:
            return self._write_chunk(max_rows)
        if self.through_seq != self.seq:
            self.through_seq = self.live_bound = self.seq
        if self._swept:
            return self._sweep(max_rows)
        if self._written:  # only after the sweep: prune may take a settled task, and must not meet its row in LIVE
            self._settle(max_rows)
            return Batch()
        self.seq = self._world = None
        self._taken = []
        return None

    def _write_chunk(self, max_rows: int) -> Batch:
        assert self.seq is not None
        while self.unwritten and len(self._encoded) < max_rows:
            self._encode_next()
        rows, self._encoded = self._encoded[:max_rows], self._encoded[max_rows:]
        batch = Batch()
        self._write_rows(rows, batch)
        if not self.unwritten and not self._encoded:
            batch.put(Table.META, self._finals)
            batch.delete(Table.META, [PROGRESS])
            self._final_sent = True
        elif not self._started:
            batch.put(Table.META, [encode_named(PROGRESS, {"seq": self.seq})])
        self._started = True
        self._tally.put_into(batch)
        return batch

    def _write_rows(self, rows: list[_Row], batch: Batch) -> None:
        """Puts, deletes and tally of these rows.  Old rows are read to take their digest out of the sum."""
        tally, store = self._tally, self._journal.store
        live = sorted(row.live for row in rows if row.live is not None)
        ended = [row for row in rows if row.ended is not None and row.place is not None]
        self._forget_old_places([row.task for row in rows], [row.task for row in ended], batch)
        olds = [key for key, _, _ in live if int.from_bytes(key, "big") <= self.live_bound]
        old_digests = {
            key: digest_stored(Table.LIVE, key, value) for key, value in zip(olds, store.get_many(Table.LIVE, olds), strict=True) if value
        }
        for key, _, digest in live:
            old = old_digests.get(key)
            tally.live += old is None
            tally.digest = (tally.digest + digest - (old or 0)) % (1 << 128)
        batch.put(Table.LIVE, [(key, value) for key, value, _ in live])
        self._write_ended(ended, batch)

    def _write_ended(self, rows: list[_Row], batch: Batch) -> None:
        tasks: Items = []
        by_state: Items = []
        by_expiry: Items = []
        places: list[Place] = []
        total = 0
        for id, queue, last_seq, live, ended, place in rows:
            assert ended is not None
            assert place is not None
            key, value, digest = ended
            total += digest
            tasks.append((key, value))
            by_state.append((place.state_key, id))
            if place.expires_at is not None:
                by_expiry.append((expiry_key(place.expires_at, place.seq), place.expiry_value))
            if live is not None:
                self._swept.append((live[0], live[2]))
            places.append(place)
            self._written.append((queue, place, last_seq))
        self._tally.added(places, total)
        batch.put(Table.TASKS, sorted(tasks))
        batch.put(Table.BY_STATE, sorted(by_state))
        batch.put(Table.BY_EXPIRY, sorted(by_expiry))

    def _forget_old_places(self, ids: list[bytes], ended: list[bytes], batch: Batch) -> None:
        """Take the old rows of tasks written anew out of the ended-task tables.

        Most are shadowed.  One that is not belongs to an earlier task of the same id, whose retention had ended when the id was used again.
        """
        tally = self._tally
        olds = [place for id in ids if (place := tally.shadowed.get(id)) is not None]
        strangers = [id for id in ended if id not in tally.shadowed]
        found = [(id, value) for id, value in zip(strangers, self._journal.store.get_many(Table.TASKS, strangers), strict=True) if value]
        olds += [tally.place(task) for task, _ in decode_rows(Table.TASKS, found)]
        if olds:
            delete_places(olds, self._journal, tally, batch)

    def _settle(self, limit: int) -> None:
        """Memory lets go of what TASKS holds, unless it changed since."""
        assert self._world is not None
        go: dict[str, list[bytes]] = {}
        for queue, place, last_seq in self._written[-limit:]:
            task = self._world.queue(queue).tasks.get(place.id)
            if task is not None and task.last_seq == last_seq:
                go.setdefault(queue, []).append(place.id)
                self._tally.unshadow(place.id)
        del self._written[-limit:]
        for queue, ids in go.items():
            self.settled += self._world.queue(queue).settle(ids)

    def _sweep(self, limit: int) -> Batch:
        gone, self._swept = self._swept[:limit], self._swept[limit:]
        batch = Batch()
        batch.delete(Table.LIVE, [key for key, _ in gone])
        self._tally.live -= len(gone)
        self._tally.digest = (self._tally.digest - sum(digest for _, digest in gone)) % (1 << 128)
        self._tally.put_into(batch)
        return batch


def delete_places(places: list[Place], journal: Journal, tally: Tally, batch: Batch) -> None:
    """Take rows out of the ended-task tables: deletes for `batch`, and the tally (whose record the caller puts)."""
    values = journal.store.get_many(Table.TASKS, [place.id for place in places])
    for place, value in zip(places, values, strict=True):
        tally.removed(place, digest_stored(Table.TASKS, place.id, value) if value else 0)
    batch.delete(Table.TASKS, [place.id for place in places])
    batch.delete(Table.BY_STATE, [place.state_key for place in places])
    batch.delete(Table.BY_EXPIRY, [place.expiry_key for place in places if place.expiry_key is not None])


def delete_live(seqs: list[int], journal: Journal, tally: Tally, batch: Batch) -> None:
    """Take rows out of LIVE, as far as they are there."""
    keys = [seq_key(seq) for seq in seqs]
    for key, value in zip(keys, journal.store.get_many(Table.LIVE, keys), strict=True):
        if value is not None:
            tally.live -= 1
            tally.digest = (tally.digest - digest_stored(Table.LIVE, key, value)) % (1 << 128)
            batch.delete(Table.LIVE, [key])

"""One task as the fold of its events: every fact a reader may ask for, and nothing else.

Problem.  There may be hundreds of thousands of these, each built and changed on the hottest path of the system.
Choice: a mutable object with slots, built straight from its first event; `row()` is its positional, CBOR-able form (what a
checkpoint stores), and two tasks are equal when their rows are.  Only `apply` changes one.  `later` is a tuple, though it grows: Python's
cyclic collector lets go of a tuple of integers and would walk a list, one for each task there is, again and again.  It leaves out the
submission, for a waiting task then has the empty tuple, which is one for all: the collector comes half as often.

The last two slots belong to the queue's indexes (kernel/agenda.py).  They are derived, never stored, and no part of equality.
Rejected: dataclass (slower to build, and compares what must not be compared); an immutable task replaced at each event (three
allocations of forty fields a task instead of one).
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from journeyman.kernel.events import Error, Options, TaskSubmitted
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State

_STATES: Final[Mapping[str, State]] = {s.value: s for s in State}

_FIELDS: Final = (
    "id", "seq", "queue", "handler", "state", "attempt", "failures", "crashes", "priority", "due_at", "due_kind", "first_due",
    "submitted_at", "started_at", "finished_at", "expires_at", "elapsed_us", "epoch", "payload_len", "payload_digest", "codec", "key_id",
    "keep_payload", "options", "result_len", "result_digest", "result_codec", "result_seq", "error", "reason", "message", "progress_ppm",
    "cancel", "seqs", "last_seq", "rejected", "payload_seq", "waits_for", "latest_at", "first_digest",
)  # fmt: skip

_ALL: Final = attrgetter(*(name if name != "seqs" else "later" for name in _FIELDS))


class TaskState:
    """A task.  Instants in microseconds UTC, durations in microseconds, sizes in bytes."""

    __slots__ = (*(name for name in _FIELDS if name != "seqs"), "later", "shown", "entry")

    id: bytes
    seq: int  # of its TaskSubmitted: its place among equals
    queue: str
    handler: str
    state: State  # at rest; see lifecycle.observed
    attempt: int  # ordinal of the last run, never reused
    failures: int
    crashes: int
    priority: int
    due_at: int
    due_kind: int
    first_due: int  # its place in the order: a retry does not send it to the back
    submitted_at: int
    started_at: int | None  # of the last run
    finished_at: int | None  # None until terminal
    expires_at: int | None  # None while unfinished, or kept for ever
    elapsed_us: int | None  # of the last run that ended
    epoch: int  # with attempt: the fence of the last run
    payload_len: int
    payload_digest: bytes
    codec: int
    key_id: str | None
    keep_payload: bool
    options: Options  # as submitted, but for what time, a retry and steps make of them: deadline_at, place, steps (kernel/steps.py)
    result_len: int
    result_digest: bytes
    result_codec: int
    result_seq: int  # of its TaskSucceeded, the key of the result record; 0: no result record
    error: Error | None  # of the last failed run
    reason: str | None  # why it failed, was cancelled or interrupted
    message: str | None
    progress_ppm: int | None
    cancel: tuple[str, str] | None  # (reason, by) asked for while running
    later: tuple[int, ...]  # of every event of its own after its TaskSubmitted
    last_seq: int
    rejected: list[tuple[int, str]] | None  # (attempt, kind) of stale words already journalled
    payload_seq: int  # of the event that owns its arguments: its TaskSubmitted, or the TaskRescheduled that brought later ones
    waits_for: set[bytes] | None  # tasks named by `after` that have not ended yet; None: nothing (more)
    latest_at: int | None  # debounced: not pushed back beyond this instant
    first_digest: bytes  # of the arguments it was submitted with, when later ones took their place; else b""
    shown: State | None  # the roster it stands in: its state as last observed; None when the queue has let go of it
    entry: object | None  # what stands for it in the agenda's lines and heaps

    def __init__(self, event: TaskSubmitted, seq: int, state: State) -> None:
        (
            self.submitted_at, self.queue, _, self.epoch, self.id, self.handler, self.priority, due_at, self.due_kind, self.payload_len,
            self.payload_digest, self.codec, self.key_id, self.options,
        ) = event  # fmt: skip
        self.due_at = self.first_due = due_at
        self.seq = self.last_seq = self.payload_seq = seq
        self.later = ()
        self.state = self.shown = state
        self.attempt = self.failures = self.crashes = self.result_len = self.result_codec = self.result_seq = 0
        self.started_at = self.finished_at = self.expires_at = self.elapsed_us = None
        self.error = self.reason = self.message = self.progress_ppm = self.cancel = self.rejected = self.entry = None
        self.waits_for = self.latest_at = None
        self.keep_payload = True
        self.result_digest = self.first_digest = b""

    def __lt__(self, other: TaskState) -> bool:
        """By submission; also settles heap entries whose keys tie."""
        return self.seq < other.seq

    def __repr__(self) -> str:
        return f"<TaskState {id_text(self.id)} seq={self.seq} {self.queue}/{self.handler} {self.state} attempt={self.attempt}>"

    def __copy__(self) -> TaskState:
        """As it is now, outside the indexes.  Python's own way goes through a dict of all slots, at ten times the price."""
        twin = TaskState.__new__(TaskState)
        (
            twin.id, twin.seq, twin.queue, twin.handler, twin.state, twin.attempt, twin.failures, twin.crashes, twin.priority,
            twin.due_at, twin.due_kind, twin.first_due, twin.submitted_at, twin.started_at, twin.finished_at, twin.expires_at,
            twin.elapsed_us, twin.epoch, twin.payload_len, twin.payload_digest, twin.codec, twin.key_id, twin.keep_payload,
            twin.options, twin.result_len, twin.result_digest, twin.result_codec, twin.result_seq, twin.error, twin.reason, twin.message,
            twin.progress_ppm, twin.cancel, twin.later, twin.last_seq, twin.rejected, twin.payload_seq, twin.waits_for, twin.latest_at,
            twin.first_digest,
        ) = _ALL(self)  # fmt: skip
        twin.shown = twin.entry = None
        return twin

    @property
    def seqs(self) -> tuple[int, ...]:
        """Of every event of its own."""
        return (self.seq, *self.later)

    @property
    def fence(self) -> tuple[int, int]:
        """(epoch, attempt) of the last run."""
        return (self.epoch, self.attempt)

    @property
    def place(self) -> int:
        """Its turn among those with one first due instant: that of its submission, or of the `retry` that sent it to the back."""
        place: int = self.seq if self.options is None else self.options.get("place", self.seq)
        return place

    @property
    def deadline_at(self) -> int | None:
        """The instant by which a run must have started, if it has one."""
        return None if self.options is None else self.options.get("deadline_at")

    def budget(self, attempts: int) -> int:
        """Failed runs in all before it fails for good: its own choice, or the queue's `attempts`."""
        own: int | None = None if self.options is None else self.options.get("attempts")
        return attempts if own is None else own

    def row(self) -> list[Any]:
        """Its facts in the order of `ROW`, CBOR-able; the maps and lists in it are copies one level deep."""
        return [
            self.id, self.seq, self.queue, self.handler, self.state.value, self.attempt, self.failures, self.crashes, self.priority,
            self.due_at, self.due_kind, self.first_due, self.submitted_at, self.started_at, self.finished_at, self.expires_at,
            self.elapsed_us, self.epoch, self.payload_len, self.payload_digest, self.codec, self.key_id, self.keep_payload,
            None if self.options is None else dict(self.options), self.result_len, self.result_digest, self.result_codec, self.result_seq,
            None if self.error is None else [*self.error[:3], list(self.error[3])], self.reason, self.message, self.progress_ppm,
            None if self.cancel is None else list(self.cancel), [self.seq, *self.later], self.last_seq,
            None if self.rejected is None else [list(r) for r in self.rejected], self.payload_seq,
            None if self.waits_for is None else sorted(self.waits_for), self.latest_at, self.first_digest,
        ]  # fmt: skip

    @classmethod
    def from_row(cls, row: list[Any]) -> TaskState:
        """The task a row describes.  Columns that later versions append are ignored, those that older ones lack take their default."""
        self = cls.__new__(cls)
        (
            self.id, self.seq, self.queue, self.handler, state, self.attempt, self.failures, self.crashes, self.priority,
            self.due_at, self.due_kind, self.first_due, self.submitted_at, self.started_at, self.finished_at, self.expires_at,
            self.elapsed_us, self.epoch, self.payload_len, self.payload_digest, self.codec, self.key_id, self.keep_payload,
            self.options, self.result_len, self.result_digest, self.result_codec, self.result_seq,
            error, self.reason, self.message, self.progress_ppm, cancel, seqs, self.last_seq, rejected, *more,
        ) = row  # fmt: skip
        self.state = _STATES[state]
        self.error = None if error is None else (error[0], error[1], error[2], list(error[3]))
        self.cancel = None if cancel is None else (cancel[0], cancel[1])
        self.rejected = None if rejected is None else [(r[0], r[1]) for r in rejected]
        self.later = tuple(seqs[1:])
        self.shown = self.entry = None
        self.payload_seq, waits_for, self.latest_at, self.first_digest = more[:4] if more else (self.seq, None, None, b"")
        self.waits_for = None if waits_for is None else set(waits_for)
        return self


ROW: Final = _FIELDS  # the names of a row's columns; appended to, never reordered

__all__ = ["ROW", "TaskState"]

"""What a repair may believe of each task: the second step, a pass over all salvaged records that changes nothing.

Problem.  Behind a lost record a task may stand elsewhere than its remaining records say.  A task that succeeded and lost just that record
looks like one that is running, and would be run again: the worst that a repair can do.  Choice, from certain to uncertain:

- *whole*: every event is there and each follows by the table of lifecycles.  Kept as it is.
- *left out*: its beginning is lost, or it has ended and something before its end is lost, or what it needs to be shown (its kept arguments,
  its result, what a step came to) is.  No work is lost with an ended task but its history; the report names each with what is known.
- *cancelled*: it had not ended as far as anybody can see, and one of its events, its arguments, or what a done step came to, are lost.  Its
  history up to the loss is kept and it ends as cancelled by "repair", with the reason: it does not run by itself, it is not forgotten,
  and an operator who knows better retries it.
- *doubtful*: nothing of it is known to be lost, but records are lost whose task nobody knows, and which may have been its end.  It is kept
  as it is, in a queue that the new journal has paused, so that nothing runs before somebody has read the report and says `resume`.

Two witnesses tell of losses.  The table of lifecycles: an event that cannot follow says that one before it is missing.  The rows of the
checkpoint: each names every event of its task up to there, so a sound row says exactly what is missing; and a task that the checkpoint
does not have as unfinished had ended by then, whatever its records say.

Rejected: taking the state from the row where events are missing (the journal would no longer add up to its state, which is all that makes
it trustworthy); ending such tasks as interrupted (that says that they were running, which nobody knows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from journeyman.journal.checkpoint import CHECKPOINT
from journeyman.journal.log import seq_key
from journeyman.journal.row import decode_columns
from journeyman.journal.salvage import Salvage
from journeyman.journal.scan import payload_of
from journeyman.journal.store import Table
from journeyman.kernel.events import AttemptStarted, StepRecorded, TaskRescheduled, TaskRetried, TaskSubmitted, TransitionRejected
from journeyman.kernel.lifecycle import TERMINAL, TRANSITIONS, State
from journeyman.kernel.steps import steps_of
from journeyman.kernel.tags import TASK_KINDS
from journeyman.kernel.taskstate import ROW

_PAGE: Final = 200
_ID, _SEQ, _QUEUE, _STATE, _SEQS, _LAST, _PAYLOAD = (
    ROW.index(name) for name in ("id", "seq", "queue", "state", "seqs", "last_seq", "payload_seq")
)
_OPTIONS: Final = ROW.index("options")
_END_OF_TIME: Final = 1 << 63


@dataclass
class Life:
    """A task that has not ended yet, as the records tell it."""

    queue: str
    seq: int
    last: int
    state: State
    run: int  # of its last attempt
    payload: int
    has_payload: bool
    lost_step: tuple[int, str] | None = None  # the first of its done steps whose value is lost: seq and name


@dataclass
class Affected:
    """A task that is not in the new journal as it was."""

    task: bytes
    queue: str
    first: int
    last: int
    what: str  # left out, cancelled, doubtful
    why: str


@dataclass
class Judgement:
    """What becomes of whom."""

    affected: dict[bytes, Affected] = field(default_factory=dict)
    cuts: dict[bytes, int] = field(default_factory=dict)  # task -> its events from here on are left out
    out: set[bytes] = field(default_factory=set)  # all of its events are
    doubtful: dict[bytes, Affected] = field(default_factory=dict)
    attributed: int = 0  # lost records whose task is known

    def leave_out(self, id: bytes, queue: str, first: int, last: int, why: str) -> None:
        self.out.add(id)
        self.cuts.pop(id, None)
        self.affected[id] = Affected(id, queue, first, last, "left out", why)

    def keeps(self, seq: int, event: Any) -> bool:
        """Whether an event goes into the new journal."""
        if type(event) not in TASK_KINDS:
            return True
        id: bytes = event[4]
        return id not in self.out and seq < self.cuts.get(id, _END_OF_TIME)


def judge(found: Salvage, tell: Callable[[str, int, int], Any], lost: int) -> Judgement:
    """`lost`: records that are missing and that nothing tells of."""
    judged = Judgement(out=set(found.pruned))
    known_missing = _ask_rows(found, judged)
    lives = _follow(found, judged, known_missing, tell)
    through = found.meta.get(CHECKPOINT, {"seq": 0})["seq"]
    rows_whole = not found.lost_rows and not found.losses.get("live") and CHECKPOINT in found.meta
    for id, life in lives.items():
        row = _live_row(found, life.seq)
        if rows_whole and life.last <= through and row is None and id not in judged.cuts:
            judged.leave_out(id, life.queue, life.seq, life.last, f"it had ended before the checkpoint at seq {through}; its end is lost")
        elif not life.has_payload and id not in judged.cuts:
            why = "its arguments are lost"
            judged.affected[id] = Affected(id, life.queue, life.seq, life.last, "cancelled", why)
        elif life.lost_step is not None and id not in judged.cuts:
            judged.cuts[id] = life.lost_step[0]
            judged.affected[id] = Affected(id, life.queue, life.seq, life.last, "cancelled", _step_lost(life.lost_step))
    if lost > judged.attributed or found.losses.get("events"):
        _doubt(found, judged, lives, through if rows_whole else 0)
    return judged


def _ask_rows(found: Salvage, judged: Judgement) -> dict[bytes, tuple[int, str]]:
    """Tasks of whose events some are missing: the first of these, and the state that the row tells."""
    missing: dict[bytes, tuple[int, str]] = {}
    for table in (Table.TASKS, Table.LIVE):
        start = b""
        while pairs := found.store.scan(table, start, limit=_PAGE):
            start = pairs[-1][0] + b"\0"
            rows = [row for row, _ in decode_columns(table, pairs)]
            wanted = [seq for row in rows for seq in row[_SEQS]]
            values = found.store.get_many(Table.EVENTS, [seq_key(seq) for seq in wanted])
            gone = {seq for seq, value in zip(wanted, values, strict=True) if value is None}
            for row in rows if gone else ():
                lost = [seq for seq in row[_SEQS] if seq in gone]
                if not lost or row[_ID] in judged.out:
                    continue
                judged.attributed += len(lost)
                missing[row[_ID]] = (lost[0], row[_STATE])
                words = (
                    f"record {lost[0]} of it is lost" if len(lost) == 1 else f"{len(lost)} records of it are lost, the first is {lost[0]}"
                )
                if row[_STATE] in TERMINAL or lost[0] == row[_SEQ]:
                    judged.leave_out(row[_ID], row[_QUEUE], row[_SEQ], row[_LAST], f"{words}; by the checkpoint it is {row[_STATE]}")
                else:
                    judged.cuts[row[_ID]] = lost[0]
                    judged.affected[row[_ID]] = Affected(row[_ID], row[_QUEUE], row[_SEQ], row[_LAST], "cancelled", words)
    return missing


def _follow(
    found: Salvage, judged: Judgement, missing: dict[bytes, tuple[int, str]], tell: Callable[[str, int, int], Any]
) -> dict[bytes, Life]:
    """Every task through the table of lifecycles; those that have not ended."""
    lives: dict[bytes, Life] = {}
    done = 0
    for page in found.events():
        owners = [(seq, payload_of(event)) for seq, event in page]
        keys = [seq_key(seq) for seq, wanted in owners if wanted is not None]
        there = {key for key, value in zip(keys, found.store.get_many(Table.PAYLOADS, keys), strict=True) if value is not None}
        for seq, event in page:
            if type(event) in TASK_KINDS and event[4] not in judged.out:
                _step(found, judged, lives, seq, event, seq_key(seq) in there)
        done += len(page)
        tell("following tasks", done, found.records)
    return lives


def _step(found: Salvage, judged: Judgement, lives: dict[bytes, Life], seq: int, event: Any, has_payload: bool) -> None:
    id, queue, kind = event.task, event.queue, type(event)
    life = lives.get(id)
    if kind is TaskSubmitted:
        lives[id] = Life(queue, seq, seq, State.PENDING, 0, seq, has_payload)
        return
    if kind is TaskRetried:
        row = event.row
        gone = [one for one in row[_SEQS] if found.store.get(Table.EVENTS, seq_key(one)) is None]
        if gone:
            lives.pop(id, None)
            judged.leave_out(
                id, queue, row[_SEQ], seq, f"record {gone[0]} of it is lost; it was {row[_STATE]} and was retried at seq {seq}"
            )
            return
        payload = row[_PAYLOAD] if len(row) > _PAYLOAD else row[_SEQ]
        there = found.store.get(Table.PAYLOADS, seq_key(payload)) is not None
        life = lives[id] = Life(queue, row[_SEQ], seq, State.PENDING, row[ROW.index("attempt")], payload, there)
        for name, (at, size, _, codec) in steps_of(row[_OPTIONS]).items():
            if (size or codec) and found.store.get(Table.PAYLOADS, seq_key(at)) is None:
                life.lost_step = min(life.lost_step or (at, name), (at, name))
        return
    if kind is TransitionRejected:
        if life is not None:
            life.last = seq
        return
    if life is None:
        why = f"its beginning is lost; {kind.__name__} at seq {seq} is the first that is left"
        judged.leave_out(id, queue, seq, seq, why)
        return
    targets = TRANSITIONS.get((life.state, kind.__name__))
    if targets is None or (kind is AttemptStarted and event.attempt != life.run + 1):
        _illegal(judged, lives, life, seq, event)
        return
    life.last = seq
    life.state = targets[0]
    if kind is AttemptStarted:
        life.run = event.attempt
    elif kind is TaskRescheduled and payload_of(event) is not None:
        life.payload, life.has_payload = seq, has_payload
    elif kind is StepRecorded and payload_of(event) is not None and not has_payload:
        life.lost_step = life.lost_step or (seq, event.name)
    if life.state in TERMINAL:
        del lives[id]
        _ended(judged, life, seq, event, has_payload)


def _illegal(judged: Judgement, lives: dict[bytes, Life], life: Life, seq: int, event: Any) -> None:
    """Something between `life.last` and `seq` is missing."""
    id, kind = event.task, type(event).__name__
    why = f"a record of it between {life.last} and {seq} is lost"
    if id not in judged.cuts:
        judged.cuts[id] = seq
        judged.affected[id] = Affected(id, life.queue, life.seq, seq, "cancelled", why)
        judged.attributed += 1
    if kind in _ENDINGS:
        del lives[id]
        judged.leave_out(id, life.queue, life.seq, seq, f"{judged.affected[id].why}; it had ended: {kind} at seq {seq}")


def _ended(judged: Judgement, life: Life, seq: int, event: Any, has_result: bool) -> None:
    id = event.task
    if id in judged.cuts:
        judged.leave_out(id, life.queue, life.seq, seq, f"{judged.affected[id].why}; it had ended: {type(event).__name__} at seq {seq}")
    elif event.keep_payload and not life.has_payload:
        judged.leave_out(id, life.queue, life.seq, seq, f"its arguments are lost; it had ended: {type(event).__name__} at seq {seq}")
    elif event.keep_payload and life.lost_step is not None:
        judged.leave_out(id, life.queue, life.seq, seq, f"{_step_lost(life.lost_step)}; it had ended: {type(event).__name__} at seq {seq}")
    elif payload_of(event) is not None and not has_result:
        judged.leave_out(id, life.queue, life.seq, seq, f"its result is lost; it had succeeded at seq {seq}")


def _step_lost(step: tuple[int, str]) -> str:
    return f"what its step {step[1]!r} came to is lost (record {step[0]})"


def _live_row(found: Salvage, seq: int) -> bytes | None:
    return found.store.get(Table.LIVE, seq_key(seq))


def _doubt(found: Salvage, judged: Judgement, lives: dict[bytes, Life], through: int) -> None:
    """Unfinished tasks that a lost record may have ended.  What the checkpoint has as unfinished was so at `through`."""
    losses = found.losses.get("events", ())
    edges = [
        *found.damaged,
        *(_END_OF_TIME if loss.high is None else int.from_bytes(loss.high[:8].ljust(8, b"\0"), "big") for loss in losses),
    ]
    edge = max(edges, default=_END_OF_TIME)
    if edge <= through:
        return
    for id, life in lives.items():
        if life.last < edge and id not in judged.cuts and id not in judged.out and id not in judged.affected:
            why = f"it was {life.state.value} at seq {life.last}, and records behind that are lost whose task nobody knows"
            judged.doubtful[id] = Affected(id, life.queue, life.seq, life.last, "doubtful", why)


_ENDINGS: Final = frozenset({"TaskSucceeded", "TaskFailed", "TaskCancelled", "TaskInterrupted"})

__all__ = ["Affected", "Judgement", "judge"]

"""One task: its whole life, and why it does not run now, from the journal alone.

A life is the task's own events, read by their seqs (the row of a task names them all), so it costs nothing by the size of the journal.
Only the causes of its waits need more (waits.py), and whoever asks decides whether that is worth the fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from journeyman.journal.log import Journal
from journeyman.journal.record import Ignored
from journeyman.journal.recovery import Recovered
from journeyman.journal.waits import Wait, surroundings, waits
from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    Error,
    Event,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskSucceeded,
)
from journeyman.kernel.explain import Reason, explain, key_held
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.steps import in_order, steps_of
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState

if TYPE_CHECKING:
    from journeyman.journal.view import JournalView

_NONE: Final = b"\xf6"  # None, encoded: a step that came to it has no record
_OUTCOMES: Final[dict[type[Any], str]] = {
    TaskSucceeded: "succeeded",
    AttemptFailed: "failed, to be retried",
    TaskFailed: "failed for good",
    AttemptLost: "lost: the process died",
    AttemptReleased: "given back",
    AttemptSnoozed: "snoozed",
    TaskCancelled: "cancelled",
    TaskInterrupted: "interrupted: the process died",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run.  `ended` is None, and `outcome` "running", while it is under way; `error` as journalled: type, message, traceback, MRO."""

    number: int
    started: int  # seq
    started_at: int
    ended: int | None
    ended_at: int | None
    outcome: str
    elapsed_us: int | None
    error: Error | None


@dataclass(frozen=True, slots=True)
class Life:
    """All of a task.  `arguments`, `result` and the values of `steps`, in the order in which they were done, as stored; None where they are
    not kept (any more).
    """

    task: TaskState
    events: tuple[tuple[int, Event], ...]
    attempts: tuple[Attempt, ...]
    waits: tuple[Wait, ...]  # without causes
    arguments: bytes | None
    result: bytes | None
    steps: Mapping[str, bytes | None]


def life(view: JournalView, id: bytes) -> Life | None:
    """The life of the task `id`; None if there is none (any more)."""
    with view.newest() as found:  # its row, its events and its payloads are of one moment
        task = find(found, id)
        return None if task is None else life_of(found.journal, task, view.now())


def life_of(journal: Journal, task: TaskState, now: int, most: int | None = None) -> Life:
    """The life of a task that was found, within the snapshot in which it was.  `most`: events at most, two or more; its first one and its
    newest ones then."""
    seqs = task.seqs
    if most is not None and len(seqs) > most:
        seqs = seqs[:1] + seqs[1 - most :]
    events = [(seq, event) for seq, event in journal.events(seqs) if not isinstance(event, Ignored)]
    arguments = journal.payload(task.payload_seq, task.payload_digest) if task.payload_len else b""
    result = journal.payload(task.result_seq, task.result_digest) if task.result_seq else None
    done = [(name, steps_of(task.options)[name]) for name in in_order(task)]
    steps = {name: journal.payload(at, digest) if size or codec else _NONE for name, (at, size, digest, codec) in done}
    return Life(task, tuple(events), tuple(attempts(events)), tuple(waits(events, now)), arguments, result, steps)


def find(found: Recovered, id: bytes) -> TaskState | None:
    """The task of that id, in memory or in the catalog."""
    for queue in found.state.queues.values():
        if id in queue.tasks:
            return queue.tasks[id]
    return found.catalog.get(id, 0)


def attempts(events: Sequence[tuple[int, Event]]) -> list[Attempt]:
    """The runs of one task, from its own events."""
    found: list[Attempt] = []
    begun: tuple[int, AttemptStarted] | None = None
    for seq, event in events:
        if isinstance(event, AttemptStarted):
            begun = (seq, event)
        elif begun is not None and type(event) in _OUTCOMES:
            elapsed = getattr(event, "elapsed_us", None)
            found.append(Attempt(begun[1].attempt, begun[0], begun[1].at, seq, event.at, _OUTCOMES[type(event)], elapsed, _error_of(event)))
            begun = None
    if begun is not None:
        found.append(Attempt(begun[1].attempt, begun[0], begun[1].at, None, None, "running", None, None))
    return found


def _error_of(event: Event) -> Error | None:
    if isinstance(event, AttemptFailed | TaskFailed):
        return event.error
    options = getattr(event, "options", None)
    return options.get("error") if options else None


def reasons(view: JournalView, id: bytes) -> tuple[TaskState, list[Reason]] | None:
    """The task, and why it does not run now, as far as its journal says; None if there is no such task.

    Kinds are those of `kernel.explain`, and: "no engine" (nothing runs until one is opened), "lost" (it was running in an engine that is
    gone), "engine's own" (an engine is there and nothing in the journal holds the task: see the text).
    """
    with view.newest() as found:
        task = find(found, id)
        return None if task is None else (task, reasons_of(found.state, task, view.now(), view.owner))


def reasons_of(state: JournalState, task: TaskState, now: int, owner: int | None) -> list[Reason]:
    """The same of a task that was found in this state, or in the catalog beside it."""
    queue = state.queues[task.queue]
    some = explain(queue, task.id, now, surroundings(state, queue))
    if not some:  # memory has let go of it
        some = [
            Reason("ended", f"it has ended: {task.state}{f' ({task.reason})' if task.reason else ''}"),
            *key_held(queue, task, now),
        ]
    return some if task.state in TERMINAL else _with_the_engine(owner, task, some)


def _with_the_engine(owner: int | None, task: TaskState, some: list[Reason]) -> list[Reason]:
    """What a journal's reasons become when it is known whether an engine works on it."""
    if owner is None:
        if task.state is State.RUNNING:
            return [Reason("lost", f"attempt {task.attempt} was under way when the last engine ended; the next one to open decides on it")]
        rest = [reason for reason in some if reason.kind not in ("next", "order")]
        return [Reason("no engine", "no engine has the journal open; nothing runs until one does"), *rest]
    if [reason.kind for reason in some] == ["next"]:
        text = (
            "nothing in the journal is in its way: it is about to start, or waits for what only the engine knows (its max_concurrency, "
            "a handler it does not have, a thread that outlived its time-out): ask Engine.explain there"
        )
        return [Reason("engine's own", text)]
    return some


__all__ = ["Attempt", "Life", "attempts", "life", "life_of", "reasons", "reasons_of"]

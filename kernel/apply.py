"""What an event changes: the only code that changes state, and it never refuses.

Problem.  Live state and replayed state must be the same thing, for ever.  Choice: one function per event kind, total on
every state a journal can lead to, reading nothing but the event and the state: no clock, no chance, no policy (a changed policy
must not rewrite history).  The resulting state at rest comes from the table in lifecycle.py; where an event can lead to two
states, its due instant decides.  `live == replayed` is tested at every step.

It is also the hottest code there is (three applies a task, and every one again at recovery): a dict by type chooses the function,
an event is unpacked once, and indexes are told the minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from journeyman.kernel.claims import Hold
from journeyman.kernel.events import (
    DUE_BY_DURATION,
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    CancelRequested,
    DependencyMet,
    Options,
    ProgressSampled,
    QueueEvent,
    StepRecorded,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskInterrupted,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
    TaskSubmitted,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.lifecycle import TRANSITIONS, State
from journeyman.kernel.queue_fold import QUEUE_APPLY
from journeyman.kernel.rearrange import dependency_met, reprioritised, rescheduled
from journeyman.kernel.schedule import SCHEDULE_APPLY
from journeyman.kernel.state import QueueState
from journeyman.kernel.steps import step_recorded
from journeyman.kernel.taskstate import TaskState


def _leads_to(kind: str) -> State:
    """The one state at rest that every event of `kind` leads to, read off the table."""
    targets: set[State] = {target for (_, name), states in TRANSITIONS.items() if name == kind for target in states}
    assert len(targets) == 1, f"{kind} leads to {targets}"
    return targets.pop()


_DUE, _LATER = TRANSITIONS[None, "TaskSubmitted"]
_STARTED, _SUCCEEDED, _FAILED = _leads_to("AttemptStarted"), _leads_to("TaskSucceeded"), _leads_to("TaskFailed")
_CANCELLED, _INTERRUPTED, _RETRIED = _leads_to("TaskCancelled"), _leads_to("TaskInterrupted"), _leads_to("TaskRetried")
_TRIES_AGAIN, _SNOOZED = _leads_to("AttemptFailed"), _leads_to("AttemptSnoozed")
_LOST, _RELEASED = _leads_to("AttemptLost"), _leads_to("AttemptReleased")
_PENDING, _SCHEDULED = State.PENDING, State.SCHEDULED


def apply(state: QueueState, event: TaskEvent | QueueEvent, seq: int) -> None:
    """Fold `event`, which the journal holds at `seq`, into `state`."""
    _APPLY[type(event)](state, event, seq)
    state.qseq = event[2]


def apply_new(state: QueueState, events: Sequence[TaskSubmitted], first: int) -> None:
    """`apply` each of these, which the journal holds from `first` on.

    Most are plain, without options and due at once: what is the same for all of those is done once.
    """
    tasks, agenda = state.tasks, state.agenda
    plain: list[TaskState] = []
    for seq, event in enumerate(events, first):
        if event[13] is not None or event[7] > event[0] or event[4] in tasks:  # options, due later, an id for the second time
            if plain:
                agenda.wait_plainly(plain)
                plain = []
            _submitted(state, event, seq)
        else:
            tasks[event[4]] = task = TaskState(event, seq, _DUE)
            plain.append(task)
    if plain:
        agenda.wait_plainly(plain)
    state.qseq = events[-1].qseq


# --- the three that every task has --------------------------------------------------------------------------------------


def _submitted(state: QueueState, event: TaskSubmitted, seq: int) -> None:
    task = TaskState(event, seq, _DUE)
    if task.due_at > task.submitted_at:
        task.state = _LATER
    if task.options is not None:
        task.latest_at = task.options.get("latest_at")
        state.claims.take(task)
        if (waits_for := task.options.get("waits_for")) is not None:
            task.waits_for = set(waits_for)
            state.waits.begin(task)
    tasks, id = state.tasks, task.id
    former = tasks.get(id)
    if former is not None:  # the same id, after the end of the first: it is a new task
        state.forget(former)
    tasks[id] = task
    state.agenda.wait(task)


def _started(state: QueueState, event: AttemptStarted, seq: int) -> None:
    at, _, _, epoch, id, attempt, _, tat_at, _, options = event
    task = state.tasks[id]
    agenda = state.agenda
    agenda.leave(task)
    agenda.running.add(task)
    state.running[id] = task
    task.state = _STARTED
    task.attempt = attempt
    task.epoch = epoch
    task.started_at = at
    task.later += (seq,)
    task.last_seq = seq
    if task.crashes and agenda.is_suspect(task):
        agenda.suspects_out[id] = task
    if agenda.shares is not None:
        agenda.shares.began(task)
    if task.options is not None:
        agenda.started(task)
    if options is not None:
        state.charged(task, event, seq)
    elif tat_at:
        state.tat_at = tat_at
        state.tat_seq = seq


def _succeeded(state: QueueState, event: TaskSucceeded, seq: int) -> None:
    at, _, _, _, id, _, elapsed, expires_at, keep_payload, result_len, result_digest, codec, options = event
    task = _finish(state, id, _SUCCEEDED, at, expires_at, keep_payload, seq)
    task.elapsed_us = elapsed
    task.result_len = result_len
    task.result_digest = result_digest
    task.result_codec = codec
    if result_len or codec:
        task.result_seq = seq
    if task.options is not None and (hold_us := task.options.get("unique_for_us")):
        state.claims.pass_by(at)
        state.claims.hold(task.options["unique"], Hold(at + hold_us, id, seq))
    if options is not None:
        _last_words(task, options)


# --- endings ------------------------------------------------------------------------------------------------------------


def _finish(state: QueueState, id: bytes, final: State, at: int, expires_at: int | None, keep_payload: bool, seq: int) -> TaskState:
    task = state.tasks[id]
    agenda = state.agenda
    if state.running.pop(id, None) is None:
        agenda.leave(task)
    else:
        agenda.running.count -= 1
        if task.crashes:
            agenda.suspects_out.pop(id, None)
        if agenda.shares is not None:
            agenda.shares.ended(task)
    agenda.rosters[final].add(task)
    if task.options is not None:
        state.claims.drop(task)
        if task.waits_for is not None:
            state.waits.end(task)
    task.state = final
    task.finished_at = at
    task.expires_at = expires_at
    task.keep_payload = keep_payload
    task.later += (seq,)
    task.last_seq = seq
    if task.options is not None:
        agenda.ended(task)
    return task


def _last_words(task: TaskState, options: Mapping[str, Any]) -> None:
    """The message and progress a run left behind."""
    if "message" in options:
        task.message = options["message"]
    if "progress_ppm" in options:
        task.progress_ppm = options["progress_ppm"]
    if (error := options.get("error")) is not None:
        task.error = _error(error)


def _error(error: Any) -> tuple[str, str, str, list[str]]:
    """As the type says, whether it came from a codec (a list) or from the executor."""
    return (error[0], error[1], error[2], list(error[3]))


def _failed_for_good(state: QueueState, event: TaskFailed, seq: int) -> None:
    task = _finish(state, event.task, _FAILED, event.at, event.expires_at, event.keep_payload, seq)
    task.elapsed_us = event.elapsed_us
    task.failures = event.failures
    task.crashes = event.crashes
    task.reason = event.reason
    if event.error is not None:
        task.error = _error(event.error)
    if event.options is not None:
        _last_words(task, event.options)


def _cancelled(state: QueueState, event: TaskCancelled, seq: int) -> None:
    task = _finish(state, event.task, _CANCELLED, event.at, event.expires_at, event.keep_payload, seq)
    if event.attempt:
        task.elapsed_us = event.elapsed_us
    task.reason = event.reason
    if event.options is not None:
        _last_words(task, event.options)


def _interrupted(state: QueueState, event: TaskInterrupted, seq: int) -> None:
    task = _finish(state, event.task, _INTERRUPTED, event.at, event.expires_at, event.keep_payload, seq)
    task.reason = event.reason


# --- runs that another will follow ----------------------------------------------------------------------------------------


def _return(state: QueueState, id: bytes, rest: State, due_at: int, due_kind: int, seq: int, options: Options) -> TaskState:
    """A running task waits again.  Its first due instant, and so its place in the order, stays."""
    task = state.running.pop(id)
    state.agenda.running.count -= 1
    if task.crashes:
        state.agenda.suspects_out.pop(id, None)
    if state.agenda.shares is not None:
        state.agenda.shares.ended(task)
    task.state = rest
    task.due_at = due_at
    task.due_kind = due_kind
    task.later += (seq,)
    task.last_seq = seq
    if options is not None:
        _last_words(task, options)
    return task


def _failed(state: QueueState, event: AttemptFailed, seq: int) -> None:
    task = _return(state, event.task, _TRIES_AGAIN, event.due_at, DUE_BY_DURATION, seq, event.options)
    task.failures = event.failures
    task.elapsed_us = event.elapsed_us
    task.error = _error(event.error)
    state.agenda.wait(task)


def _snoozed(state: QueueState, event: AttemptSnoozed, seq: int) -> None:
    task = _return(state, event.task, _SNOOZED, event.due_at, event.due_kind, seq, event.options)
    task.elapsed_us = event.elapsed_us
    state.agenda.wait(task)


def _lost(state: QueueState, event: AttemptLost, seq: int) -> None:
    task = _return(state, event.task, _LOST, event.at, DUE_BY_DURATION, seq, event.options)
    task.crashes = event.crashes
    state.agenda.wait(task)


def _released(state: QueueState, event: AttemptReleased, seq: int) -> None:
    task = _return(state, event.task, _RELEASED, event.at, DUE_BY_DURATION, seq, event.options)
    task.elapsed_us = event.elapsed_us
    state.agenda.wait(task)
    if event.reason == "unfit":  # volatile, but at once: the next decision must not start it again
        why = event.options.get("why") if event.options else None
        state.agenda.park(task, why or "its arguments no longer fit the handler")


# --- words about a task -----------------------------------------------------------------------------------------------------


def _cancel_requested(state: QueueState, event: CancelRequested, seq: int) -> None:
    task = state.tasks[event.task]
    task.cancel = (event.reason, event.by)
    task.later += (seq,)
    task.last_seq = seq


def _progress(state: QueueState, event: ProgressSampled, seq: int) -> None:
    task = state.tasks[event.task]
    if event.fraction_ppm is not None:
        task.progress_ppm = event.fraction_ppm
    if event.message is not None:
        task.message = event.message
    task.later += (seq,)
    task.last_seq = seq


def _rejected(state: QueueState, event: TransitionRejected, seq: int) -> None:
    task = state.tasks.get(event.task)
    if task is None:  # ended, and gone from memory since: the word changes nothing
        return
    if task.rejected is None:
        task.rejected = []
    task.rejected.append((event.attempt, event.kind))
    task.later += (seq,)
    task.last_seq = seq


def _retried(state: QueueState, event: TaskRetried, seq: int) -> None:
    """Out of a terminal state: to the back of the order with fresh budgets; the attempt number goes on."""
    former = state.tasks.get(event.task)
    if former is not None:
        state.forget(former)
    task = state.tasks[event.task] = TaskState.from_row(event.row)
    task.state = _RETRIED
    task.due_at = task.first_due = event.at
    task.due_kind = DUE_BY_DURATION
    task.failures = task.crashes = 0
    task.finished_at = task.expires_at = task.reason = task.cancel = task.message = task.progress_ppm = None
    task.later += (seq,)
    task.last_seq = seq
    task.waits_for = None
    options = {**(task.options or {}), "place": seq}  # behind those that are due at this very instant, too
    options.pop("deadline_at", None)  # whoever retries by hand wants it run
    options.pop("deadline_kind", None)
    task.options = options
    state.claims.take(task)
    if "schedule" in options:
        state.note_unfinished(task)
    state.agenda.wait(task)


_APPLY: Final[dict[type, Callable[[QueueState, Any, int], None]]] = {
    TaskSubmitted: _submitted,
    AttemptStarted: _started,
    TaskSucceeded: _succeeded,
    AttemptFailed: _failed,
    TaskFailed: _failed_for_good,
    TaskCancelled: _cancelled,
    TaskInterrupted: _interrupted,
    AttemptLost: _lost,
    AttemptReleased: _released,
    AttemptSnoozed: _snoozed,
    CancelRequested: _cancel_requested,
    ProgressSampled: _progress,
    TaskRetried: _retried,
    TaskRescheduled: rescheduled,
    TaskReprioritised: reprioritised,
    DependencyMet: dependency_met,
    StepRecorded: step_recorded,
    TransitionRejected: _rejected,
    **QUEUE_APPLY,
    **SCHEDULE_APPLY,
}

__all__ = ["apply", "apply_new"]

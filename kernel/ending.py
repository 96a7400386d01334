"""Finish, Progress and Heartbeat: what an attempt says of itself, and whether it is still entitled to say it.

Problem.  Attempts outlive their authority: a thread that was timed out returns after all, an executor of an older epoch reports late.
Choice: every word carries its fence (epoch, attempt) and is checked against the task first.  A stale word changes nothing; it is
journalled once per attempt and kind (so a loop cannot flood the journal), and of a task that is gone nothing is written.

The rules of endings, in the order in which they are asked:
1. A success is a success, even when a cancel was asked for: the work is done.
2. Any other ending of a task with a cancel request is the cancel's.
3. A failure spends one of `attempts`.  It is final when it is fatal, when the queue's `on` does not name it (time-outs and lost heartbeats
   and a handler's own RetryLater are not asked), or when the budget is spent; else the next run is due after the handler's
   own delay, or backoff(failures) with jitter.
4. Snoozed and released runs spend nothing.
5. RetryLater(scope="queue") is a failure like another, whatever becomes of its task; and its queue is parked for as long.  The longest
   parking stands: one that would end earlier is no event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from journeyman.kernel.backoff import delay_us, jittered
from journeyman.kernel.bounds import DURATION_MAX_US, INSTANT_MAX_US, PARKING_REASON_MAX
from journeyman.kernel.commands import (
    Accepted,
    Answer,
    Decision,
    Env,
    Failed,
    Finish,
    Heartbeat,
    Outcome,
    Progress,
    Refused,
    Released,
    Snoozed,
    Stopped,
    Succeeded,
)
from journeyman.kernel.events import (
    DUE_BY_DURATION,
    DUE_BY_INSTANT,
    AttemptFailed,
    AttemptReleased,
    AttemptSnoozed,
    Event,
    Options,
    ProgressSampled,
    QueueParkedUntil,
    TaskCancelled,
    TaskFailed,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

_new: Final = tuple.__new__
_RUNNING: Final = State.RUNNING
ALWAYS_RETRIED: Final = frozenset({"timeout", "heartbeat", "retry_later"})  # whatever `on` says
_KINDS: Final[Mapping[type, str]] = {Succeeded: "success", Failed: "failure", Snoozed: "snooze", Stopped: "cancel", Released: "release"}


def finish(state: QueueState, command: Finish, now: int, env: Env) -> Decision:
    """The one event that ends the attempt, or its rejection."""
    id, epoch, attempt, outcome = command
    task = state.tasks.get(id)
    if task is None or task.state is not _RUNNING or task.attempt != attempt or task.epoch != epoch:
        return stale(state, task, id, epoch, attempt, _KINDS[type(outcome)], now)
    event: Event
    if type(outcome) is Succeeded:
        event = _succeeded(state, task, outcome, now)
    elif task.cancel is not None or type(outcome) is Stopped:
        event = _cancelled(state, task, outcome, now)
    else:
        event = _ENDINGS[type(outcome)](state, task, outcome, now, env)
    if type(outcome) is Failed and outcome.parks:
        return Decision([event, *_parking(state, task, outcome, now, env)], [Accepted(id)])
    return _new(Decision, ([event], [_new(Accepted, (id, False, 0))]))


def progress(state: QueueState, command: Progress, now: int, env: Env) -> Decision:
    """The journalled sample of a run's progress, or its rejection."""
    id, epoch, attempt, fraction, message = command
    task = state.tasks.get(id)
    if task is None or task.state is not _RUNNING or task.attempt != attempt or task.epoch != epoch:
        return stale(state, task, id, epoch, attempt, "progress", now)
    event = ProgressSampled(now, state.name, state.qseq + 1, state.epoch, id, attempt, fraction, message)
    return Decision([event], [Accepted(id)])


def heartbeat(state: QueueState, command: Heartbeat, now: int, env: Env) -> Decision:
    """Nothing, or its rejection."""
    id, epoch, attempt = command
    task = state.tasks.get(id)
    if task is None or task.state is not _RUNNING or task.attempt != attempt or task.epoch != epoch:
        return stale(state, task, id, epoch, attempt, "heartbeat", now)
    return Decision([], [Accepted(id)])


def stale(state: QueueState, task: TaskState | None, id: bytes, epoch: int, attempt: int, kind: str, now: int) -> Decision:
    """The rejection of a word whose attempt is over, put on record once."""
    if task is None:
        return Decision([], [Refused("TaskNotFound", f"task {id_text(id)} is gone; {kind} of its attempt {attempt} came too late")])
    stands = f"it is {task.state} at attempt {task.attempt} (epoch {task.epoch})"
    answer: Answer = Refused(
        "TransitionRejected", f"{kind} of attempt {attempt} (epoch {epoch}) of task {id_text(id)} was not applied: {stands}"
    )
    if task.rejected is not None and (attempt, kind) in task.rejected:
        return Decision([], [answer])
    event = TransitionRejected(now, state.name, state.qseq + 1, state.epoch, id, attempt, epoch, kind, task.state.value)
    return Decision([event], [answer])


def _succeeded(state: QueueState, task: TaskState, outcome: Succeeded, now: int) -> TaskSucceeded:
    elapsed, size, digest, codec, options = outcome
    policy = state.policy
    keep = policy.keep_succeeded_us
    if not policy.result:
        size, digest, codec = 0, b"", 0
    return _new(
        TaskSucceeded,
        (
            now, state.name, state.qseq + 1, state.epoch, task.id, task.attempt, elapsed, None if keep is None else now + keep,
            policy.payload is True, size, digest, codec, options,
        ),
    )  # fmt: skip


def _failed(state: QueueState, task: TaskState, outcome: Failed, now: int, env: Env) -> Event:
    policy = state.policy
    failures = task.failures + 1
    options: dict[str, Any] = dict(outcome.options or ())
    if outcome.cause != "exception":
        options["cause"] = outcome.cause
    if outcome.cause == "fatal":
        return _dead(state, task, outcome, failures, "fatal", options, now)
    if not outcome.retryable and outcome.cause not in ALWAYS_RETRIED:
        return _dead(state, task, outcome, failures, "not retryable", options, now)
    if failures >= task.budget(policy.attempts):
        return _dead(state, task, outcome, failures, "attempts", options, now)
    delay, warning = _pause(state, task, outcome, failures, env)
    if warning is not None:
        options["warning"] = warning
    return AttemptFailed(
        now, state.name, state.qseq + 1, state.epoch, task.id, task.attempt, outcome.elapsed_us, failures, now + delay, outcome.error,
        options or None,
    )  # fmt: skip


def _pause(state: QueueState, task: TaskState, outcome: Failed, failures: int, env: Env) -> tuple[int, str | None]:
    """Until the next run: what the handler asked for, else the backoff; and a warning about that."""
    if outcome.delay_us is not None:
        return min(max(outcome.delay_us, 0), DURATION_MAX_US), None
    policy = state.policy
    delay, warning = delay_us(policy.backoff, failures, env.backoff)
    return jittered(delay, policy.jitter_ppm, task.id, failures), warning


def _parking(state: QueueState, task: TaskState, outcome: Failed, now: int, env: Env) -> list[Event]:
    until_at = now + _pause(state, task, outcome, task.failures + 1, env)[0]
    if until_at <= max(state.parked_until, now):
        return []
    by = {"task": task.id, "attempt": task.attempt}
    return [QueueParkedUntil(now, state.name, state.qseq + 2, state.epoch, until_at, "handler", outcome.error[1][:PARKING_REASON_MAX], by)]


def _dead(state: QueueState, task: TaskState, outcome: Failed, failures: int, reason: str, options: dict[str, Any], now: int) -> TaskFailed:
    policy, final = state.policy, State.FAILED
    return TaskFailed(
        now, state.name, state.qseq + 1, state.epoch, task.id, task.attempt, outcome.elapsed_us, failures, task.crashes,
        policy.expiry(final, now), policy.keeps_payload(final), outcome.error, reason, options or None,
    )  # fmt: skip


def _snoozed(state: QueueState, task: TaskState, outcome: Snoozed, now: int, env: Env) -> AttemptSnoozed:
    if outcome.until_at is not None:
        due_at, due_kind = min(max(outcome.until_at, now), INSTANT_MAX_US), DUE_BY_INSTANT
    else:
        due_at, due_kind = now + min(max(outcome.delay_us, 0), DURATION_MAX_US), DUE_BY_DURATION
    return AttemptSnoozed(
        now, state.name, state.qseq + 1, state.epoch, task.id, task.attempt, outcome.elapsed_us, due_at, due_kind, outcome.options
    )  # fmt: skip


def _released(state: QueueState, task: TaskState, outcome: Released, now: int, env: Env) -> AttemptReleased:
    return AttemptReleased(
        now, state.name, state.qseq + 1, state.epoch, task.id, task.attempt, outcome.elapsed_us, outcome.reason, outcome.options
    )  # fmt: skip


def _cancelled(state: QueueState, task: TaskState, outcome: Outcome, now: int) -> TaskCancelled:
    """The cancel that was asked for, or the handler's own; an exception raised on the way out is kept as evidence."""
    reason, by = task.cancel or ("", "handler")
    options: Options = outcome.options
    if type(outcome) is Stopped:
        reason = reason if outcome.reason is None else outcome.reason
        by = by if outcome.by is None else outcome.by
    elif type(outcome) is Failed:
        options = {**(options or {}), "error": list(outcome.error)}
    policy, final = state.policy, State.CANCELLED
    return TaskCancelled(
        now, state.name, state.qseq + 1, state.epoch, task.id, task.attempt, outcome.elapsed_us, policy.expiry(final, now),
        policy.keeps_payload(final), reason, by, options,
    )  # fmt: skip


_ENDINGS: Final[Mapping[type, Callable[[QueueState, TaskState, Any, int, Env], Event]]] = {
    Failed: _failed,
    Snoozed: _snoozed,
    Released: _released,
}

__all__ = ["ALWAYS_RETRIED", "finish", "heartbeat", "progress", "stale"]

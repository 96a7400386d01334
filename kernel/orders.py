"""What people ask of tasks and queues: cancel, retry by hand, clear, pause, resume, configure.

Each is one decision on what is visible at `now`: a task whose retention has passed is not found, though its records may not be
deleted yet.  An order that finds its wish fulfilled already (a second pause, a second cancel) is accepted and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Any

from journeyman.kernel.commands import (
    Accepted,
    Cancel,
    Clear,
    Configure,
    Decision,
    Env,
    Pause,
    Refused,
    Reprioritise,
    Reschedule,
    Resume,
    Retry,
)
from journeyman.kernel.dispatch import cancelled
from journeyman.kernel.events import (
    DUE_BY_DURATION,
    DUE_BY_INSTANT,
    CancelRequested,
    Event,
    QueueConfigured,
    QueuePaused,
    QueueResumed,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
)
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL, WAITING, State, may
from journeyman.kernel.policy import Policy
from journeyman.kernel.ratelimit import interval_us
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState


def _visible(state: QueueState, id: bytes, env: Env, now: int) -> TaskState | None:
    task = state.tasks.get(id) or env.known.get(id)
    return None if task is None or (task.expires_at is not None and task.expires_at <= now) else task


def _not_found(id: bytes) -> Decision:
    return Decision([], [Refused("TaskNotFound", f"there is no task {id_text(id)}; it may have been dropped when its retention passed")])


def cancel(state: QueueState, command: Cancel, now: int, env: Env) -> Decision:
    """A waiting task is cancelled at once; a running one is told to stop."""
    id = command.task
    task = _visible(state, id, env, now)
    if task is None:
        return _not_found(id)
    if may(task.state, "CancelRequested"):
        if not command.running:
            text = f"task {id_text(id)} is running; cancel it with running=True to signal its handler"
            return Decision([], [Refused("NotCancellable", text)])
        if task.cancel is not None:
            return Decision([], [Accepted(id)])
        event: Event = CancelRequested(now, state.name, state.qseq + 1, state.epoch, id, task.attempt, command.reason, command.by)
        return Decision([event], [Accepted(id, count=1)])
    if not may(task.state, "TaskCancelled"):
        return Decision([], [Refused("NotCancellable", f"task {id_text(id)} has already {_ended(task)}")])
    return Decision([cancelled(state, id, now, 1, command.reason, command.by)], [Accepted(id, count=1)])


def _ended(task: TaskState) -> str:
    return {State.SUCCEEDED: "succeeded", State.FAILED: "failed"}.get(task.state, f"been {task.state}")


def retry(state: QueueState, command: Retry, now: int, env: Env) -> Decision:
    """Out of a terminal state, to the back of the order, with fresh budgets."""
    id = command.task
    task = _visible(state, id, env, now)
    if task is None and command.ended is not None and (command.ended.expires_at is None or command.ended.expires_at > now):
        task = command.ended
    if task is None:
        return _not_found(id)
    if not may(task.state, "TaskRetried"):
        ended = "has succeeded: submit it again for another run" if task.state in TERMINAL else f"is {task.state}, it will run without help"
        return Decision([], [Refused("NotRetryable", f"task {id_text(id)} {ended}")])
    key = None if task.options is None else task.options.get("unique")
    if key is not None and (holders := state.claims.holders.get(key)):
        return Decision([], [key_taken(key, id, holders[0].id)])
    if not task.keep_payload:
        text = f"the arguments of task {id_text(id)} were dropped when it ended (retention payload={state.policy.payload!r})"
        return Decision([], [Refused("NotRetryable", text)])
    event = TaskRetried(now, state.name, state.qseq + 1, state.epoch, id, command.by, command.reason, task.row())
    return Decision([event], [Accepted(id, count=1)])


def key_taken(key: str, id: bytes, holder: bytes) -> Refused:
    """Of a retry whose unique key another task has by now."""
    return Refused("NotRetryable", f"the unique key {key!r} of task {id_text(id)} is taken by task {id_text(holder)}, which has not ended")


def reschedule(state: QueueState, command: Reschedule, now: int, env: Env) -> Decision:
    """A waiting task is due at another instant, which is its place in the order from here on.  The past means now."""
    task = _visible(state, command.task, env, now)
    if task is None or not may(task.state, "TaskRescheduled"):
        return _not_waiting(command.task, task, "due at another instant")
    due_at, due_kind = (now + command.delay_us, DUE_BY_DURATION) if command.due_at is None else (command.due_at, DUE_BY_INSTANT)
    if due_at <= now:
        due_at, due_kind = now, DUE_BY_DURATION
    event = TaskRescheduled(now, state.name, state.qseq + 1, state.epoch, task.id, due_at, due_kind, due_at, command.by, command.reason)
    return Decision([event], [Accepted(task.id, count=1)])


def reprioritise(state: QueueState, command: Reprioritise, now: int, env: Env) -> Decision:
    """A waiting task gets another place in the order."""
    task = _visible(state, command.task, env, now)
    if task is None or not may(task.state, "TaskReprioritised"):
        return _not_waiting(command.task, task, "given another priority")
    if task.priority == command.priority:
        return Decision([], [Accepted(task.id)])
    event = TaskReprioritised(now, state.name, state.qseq + 1, state.epoch, task.id, command.priority, command.by, command.reason)
    return Decision([event], [Accepted(task.id, count=1)])


def _not_waiting(id: bytes, task: TaskState | None, wish: str) -> Decision:
    if task is None:
        return _not_found(id)
    stands = f"has already {_ended(task)}" if task.state in TERMINAL else f"is {task.state}"
    return Decision([], [Refused("NotWaiting", f"task {id_text(id)} {stands}; only one that waits can be {wish}")])


def clear(state: QueueState, command: Clear, now: int, env: Env) -> Decision:
    """Everything that waits is cancelled, oldest first; what runs is left alone."""
    some = islice(to_clear(state, now), command.limit)
    events: list[Event] = [cancelled(state, task.id, now, position, command.reason, command.by) for position, task in enumerate(some, 1)]
    return Decision(events, [Accepted(count=len(events))])


def to_clear(state: QueueState, now: int) -> Iterator[TaskState]:
    """What a Clear takes, oldest first.  Not to be kept across a change."""
    return merge(*(state.listed_upwards(each, now) for each in State if each in WAITING))


def pause(state: QueueState, command: Pause, now: int, env: Env) -> Decision:
    """Nothing starts until Resume; what runs goes on."""
    if state.paused is not None:
        return Decision([], [Accepted()])
    return Decision([QueuePaused(now, state.name, state.qseq + 1, state.epoch, command.by, command.reason)], [Accepted(count=1)])


def resume(state: QueueState, command: Resume, now: int, env: Env) -> Decision:
    """Undo Pause, and end what a handler's RetryLater(scope="queue") asked for."""
    if state.paused is None and state.parked_until <= now:
        return Decision([], [Accepted()])
    return Decision([QueueResumed(now, state.name, state.qseq + 1, state.epoch, command.by, command.reason)], [Accepted(count=1)])


def configure(state: QueueState, command: Configure, now: int, env: Env) -> Decision:
    """Another policy from here on; instants already decided stay.  What was declared is remembered beside it (kernel/recovery.py)."""
    policy = Policy.from_facts({**state.policy.facts(), **command.policy})
    if policy == state.policy and state.configured:
        return Decision([], [Accepted()])
    options: dict[str, Any] = {"live": True, "reason": command.reason}
    if policy.rate is not None and policy.rate != state.policy.rate:
        # What the old rate had put off is not owed to the new one: no later than after a full burst at this very instant.
        spent_at = now + policy.rate[2] * interval_us(policy.rate)
        options["tat_at"] = min(state.tat_at, spent_at)
        if policy.limiter is not None and policy.limiter == state.policy.limiter:  # else it may be under these very numbers that it is owed
            options["limiter_at"] = min(state.limiters.get(policy.limiter), spent_at)
    event = QueueConfigured(now, state.name, state.qseq + 1, state.epoch, policy.facts(), command.by, options)
    return Decision([event], [Accepted(count=1)])


__all__ = ["cancel", "clear", "configure", "key_taken", "pause", "reprioritise", "reschedule", "resume", "retry", "to_clear"]

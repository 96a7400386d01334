"""Open: a new owner takes charge, and every attempt of an older epoch gets its verdict.

Problem.  After a crash nobody knows how far the running handlers came.  Choice: the new epoch fences all of them at once, and each
is judged by journalled facts and one volatile hint, whether its handler had been entered (a start is journalled before it):

1. A cancel had been asked for: it is carried out.  A crash does not forget the wish.
2. The queue's actor died, not the process: given back, uncharged.
3. on_crash="interrupt": interrupted, for good.  The hint is not asked here: it is not synced to disk, and "never run twice" must
   not hang on it.
4. Not entered: lost, uncharged.
5. Entered: lost, and one of `crashes` is spent; the crash after the last forgiven one makes it fail, with the evidence.

The policy is the declared one if that is another than at the last opening, and its QueueConfigured comes before the verdicts; else it
stays as it is, an operator's live changes among it (DECISIONS 7): who changes a declaration has looked at it, who restarts has not.
"""

from __future__ import annotations

from journeyman.kernel.commands import Accepted, Decision, Env, Open
from journeyman.kernel.events import (
    AttemptLost,
    AttemptReleased,
    Error,
    Event,
    QueueConfigured,
    QueueOpened,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
)
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Policy
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState


def open_queue(state: QueueState, command: Open, now: int, env: Env) -> Decision:
    """QueueOpened, QueueConfigured if another policy is declared, then one verdict for each attempt that was running, oldest task first."""
    epoch, qseq, queue = state.epoch + 1, state.qseq + 1, state.name
    events: list[Event] = [QueueOpened(now, queue, qseq, epoch, command.boot)]
    policy = state.policy
    if command.policy is not None:
        declared = Policy.from_facts(command.policy)
        if declared != state.declared:
            policy = declared
            qseq += 1
            events.append(QueueConfigured(now, queue, qseq, epoch, policy.facts(), "open"))
    entered = frozenset(command.entered)
    for task in sorted(state.running.values()):
        qseq += 1
        events.append(_verdict(task, command.crashed, task.id in entered, policy, (now, queue, qseq, epoch)))
    return Decision(events, [Accepted(count=len(state.running))])


def _verdict(task: TaskState, crashed: bool, entered: bool, policy: Policy, head: tuple[int, str, int, int]) -> Event:
    now, queue, qseq, epoch = head
    id, attempt = task.id, task.attempt
    elapsed = max(0, now - (task.started_at or now))  # an upper bound: when it died is not known
    if task.cancel is not None:
        final = State.CANCELLED
        reason, by = task.cancel
        return TaskCancelled(
            now, queue, qseq, epoch, id, attempt, elapsed, policy.expiry(final, now), policy.keeps_payload(final), reason, by
        )  # fmt: skip
    if not crashed:
        return AttemptReleased(now, queue, qseq, epoch, id, attempt, elapsed, "actor")
    if policy.on_crash == "interrupt":
        final = State.INTERRUPTED
        expires_at, keep = policy.expiry(final, now), policy.keeps_payload(final)
        return TaskInterrupted(now, queue, qseq, epoch, id, attempt, expires_at, keep, "the process died")
    if not entered:
        return AttemptLost(now, queue, qseq, epoch, id, attempt, task.crashes, entered=False)
    crashes = task.crashes + 1
    if crashes <= policy.crashes:
        return AttemptLost(now, queue, qseq, epoch, id, attempt, crashes, entered=True)
    final = State.FAILED
    return TaskFailed(
        now, queue, qseq, epoch, id, attempt, elapsed, task.failures, crashes, policy.expiry(final, now), policy.keeps_payload(final),
        _evidence(task, crashes), "crashes",
    )  # fmt: skip


def _evidence(task: TaskState, crashes: int) -> Error:
    runs = "1 of its runs" if crashes == 1 else f"{crashes} of its runs"
    message = f"the process died during {runs}, the last of them attempt {task.attempt}"
    last = f"; before that, the handler had failed with {task.error[0]}: {task.error[1]}" if task.error else ""
    return ("ProcessCrashed", message + last, task.error[2] if task.error else "", ["ProcessCrashed"])


__all__ = ["open_queue"]

"""The life of a task: every state, every transition, in one table.

Problem.  A task queue's rules tend to be written several times (once per command, once in SQL, once in the
recovery path) and then drift apart.  Choice: this file is the only place that says which event may follow which
state and where it leads.  `decide` consults it before it proposes an event, `apply` follows it, the tests walk every
cell of it and the diagram in docs/ARCHITECTURE.md is generated from it.

Rule 1.  A change of a task's state is an event named here, from a state named here, or it does not happen.
Rule 2.  A terminal state has one way out: `TaskRetried`, an operator's decision.
Rule 3.  `scheduled` and `retrying` are states *at rest*: what they look like to an observer also depends on time.
         Once their due instant has come they are `pending`.  No event marks that moment (it would cost a commit and say
         nothing that `due_at` does not); `observed` derives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a task stands.  The last four are terminal."""

    SCHEDULED = "scheduled"  # due later
    PENDING = "pending"  # due
    RUNNING = "running"
    RETRYING = "retrying"  # failed, waits for its backoff
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the dead letter
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # was running when the process died, and its queue says: never again


WAITING: Final = frozenset({State.SCHEDULED, State.PENDING, State.RETRYING})
TERMINAL: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.INTERRUPTED})

_S = State

# (state at rest, event kind) -> states at rest that may follow.  Where an event can lead to two states, its due instant decides.
TRANSITIONS: Final[Mapping[tuple[State | None, str], tuple[State, ...]]] = MappingProxyType(
    {
        (None, "TaskSubmitted"): (_S.PENDING, _S.SCHEDULED),
        **{(s, "AttemptStarted"): (_S.RUNNING,) for s in (_S.PENDING, _S.SCHEDULED, _S.RETRYING)},
        **{(s, "TaskCancelled"): (_S.CANCELLED,) for s in (_S.PENDING, _S.SCHEDULED, _S.RETRYING, _S.RUNNING)},
        (_S.RUNNING, "TaskSucceeded"): (_S.SUCCEEDED,),
        (_S.RUNNING, "TaskFailed"): (_S.FAILED,),
        (_S.RUNNING, "TaskInterrupted"): (_S.INTERRUPTED,),
        (_S.RUNNING, "AttemptFailed"): (_S.RETRYING,),
        (_S.RUNNING, "AttemptLost"): (_S.PENDING,),
        (_S.RUNNING, "AttemptReleased"): (_S.PENDING,),
        (_S.RUNNING, "AttemptSnoozed"): (_S.SCHEDULED,),
        (_S.RUNNING, "CancelRequested"): (_S.RUNNING,),
        (_S.RUNNING, "ProgressSampled"): (_S.RUNNING,),
        (_S.RUNNING, "StepRecorded"): (_S.RUNNING,),
        **{(s, "TaskRetried"): (_S.PENDING,) for s in (_S.FAILED, _S.CANCELLED, _S.INTERRUPTED)},
        **{(s, "TaskRescheduled"): (_S.PENDING, _S.SCHEDULED) for s in (_S.PENDING, _S.SCHEDULED, _S.RETRYING)},
        **{(s, "TaskReprioritised"): (s,) for s in (_S.PENDING, _S.SCHEDULED, _S.RETRYING)},
        **{(s, "DependencyMet"): (s,) for s in (_S.PENDING, _S.SCHEDULED)},
        # A stale attempt's word changes nothing, whatever the task is by now.
        **{(s, "TransitionRejected"): (s,) for s in State},
    }
)


def may(state: State | None, kind: str) -> bool:
    """Whether an event of `kind` may follow `state` (None: the task does not exist yet)."""
    return (state, kind) in TRANSITIONS


def observed(state: State, due_at: int, now: int) -> State:
    """The state an observer at `now` (microseconds UTC) sees: what waited for an instant that has come is pending."""
    if due_at <= now and (state is State.SCHEDULED or state is State.RETRYING):
        return State.PENDING
    return state

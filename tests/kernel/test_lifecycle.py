"""Every cell of the table: each event kind against each state, through `may`, through apply, and through decide."""

from __future__ import annotations

import pytest

from journeyman.kernel.commands import (
    Cancel,
    Dispatch,
    Failed,
    Finish,
    Heartbeat,
    Progress,
    RecordStep,
    Refused,
    Released,
    Retry,
    Snoozed,
    Stopped,
    Succeeded,
)
from journeyman.kernel.events import TransitionRejected
from journeyman.kernel.lifecycle import TERMINAL, TRANSITIONS, WAITING, State, may, observed
from journeyman.kernel.policy import Exponential, Policy
from journeyman.kernel.policy import Retry as RetryPolicy
from journeyman.kernel.tags import TASK_KINDS
from tests.kernel.lane import ERROR, SECOND, Lane, task

TASK_EVENTS = [kind.__name__ for kind in TASK_KINDS]
POLICY = Policy.compile(concurrency=4, retry=RetryPolicy(attempts=3, backoff=Exponential(60)))

# Written by hand, as a second opinion on the table: what may follow what.
MAY = {
    None: {"TaskSubmitted"},
    State.PENDING: {"AttemptStarted", "TaskCancelled", "DependencyMet", "TaskReprioritised", "TaskRescheduled"},
    State.SCHEDULED: {"AttemptStarted", "TaskCancelled", "DependencyMet", "TaskReprioritised", "TaskRescheduled"},
    State.RETRYING: {"AttemptStarted", "TaskCancelled", "TaskReprioritised", "TaskRescheduled"},
    State.RUNNING: {
        "TaskSucceeded", "TaskFailed", "TaskCancelled", "TaskInterrupted", "AttemptFailed", "AttemptLost", "AttemptReleased",
        "AttemptSnoozed", "CancelRequested", "ProgressSampled", "StepRecorded",
    },
    State.SUCCEEDED: set(),
    State.FAILED: {"TaskRetried"},
    State.CANCELLED: {"TaskRetried"},
    State.INTERRUPTED: {"TaskRetried"},
}  # fmt: skip


def lane_in(state: State) -> Lane:
    """A lane whose task 1 is in `state` at rest."""
    lane = Lane(POLICY if state is not State.INTERRUPTED else Policy(on_crash="interrupt"))
    lane.when(task(1, due_at=9 * SECOND if state is State.SCHEDULED else None))
    if state in (State.SCHEDULED, State.PENDING):
        return lane
    lane.start(1)
    if state is State.RETRYING:
        lane.finish(1, Failed(1, ERROR))
    elif state is State.SUCCEEDED:
        lane.finish(1)
    elif state is State.FAILED:
        lane.finish(1, Failed(1, ERROR, "fatal"))
    elif state is State.CANCELLED:
        lane.finish(1, Stopped(1, "enough", "me"))
    elif state is State.INTERRUPTED:
        lane.reopen()
    assert lane[1].state is state
    return lane


@pytest.mark.parametrize("kind", TASK_EVENTS)
@pytest.mark.parametrize("state", [None, *State])
def test_every_cell(state: State | None, kind: str) -> None:
    expected = kind in MAY[state] or (state is not None and kind == "TransitionRejected")
    assert may(state, kind) is expected


def test_the_table_names_only_event_kinds_and_leads_to_states() -> None:
    assert {kind for _, kind in TRANSITIONS} == set(TASK_EVENTS)
    assert all(isinstance(target, State) for targets in TRANSITIONS.values() for target in targets)
    assert TERMINAL | WAITING | {State.RUNNING} == set(State)


COMMANDS = {
    "start": Dispatch(),
    "cancel": Cancel(task(1).task, "why", "me"),
    "retry": Retry(task(1).task, "why", "me"),
    "progress": Progress(task(1).task, 1, 1, 5, None),
    "step": RecordStep(task(1).task, 1, 1, "charge", 3, b"d" * 16),
    "heartbeat": Heartbeat(task(1).task, 1, 1),
    **{
        name: Finish(task(1).task, 1, 1, outcome)
        for name, outcome in {
            "success": Succeeded(1), "failure": Failed(1, ERROR), "fatal": Failed(1, ERROR, "fatal"), "snooze": Snoozed(1, 5),
            "stopped": Stopped(1), "release": Released(1),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("state", list(State))
def test_every_command_in_every_state_keeps_to_the_table(state: State, name: str) -> None:
    lane = lane_in(state)
    lane.when(COMMANDS[name])  # the lane checks each event against the table, and live against replayed
    if not lane.last:
        refused = isinstance(lane.answers[0], Refused)
        assert refused or (name == "start" and state is not State.PENDING) or (name == "heartbeat" and state is State.RUNNING)
    elif state is not State.RUNNING and name not in ("start", "cancel", "retry"):
        lane.then(TransitionRejected)


def test_observed_derives_pending_from_the_due_instant() -> None:
    for state in State:
        waits = state in (State.SCHEDULED, State.RETRYING)
        assert observed(state, 10, 9) is state
        assert observed(state, 10, 10) is (State.PENDING if waits else state)

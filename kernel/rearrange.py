"""What events change of a task that goes on waiting: its due instant, its arguments, what it waits for.  Part of the fold (apply.py)."""

from __future__ import annotations

from journeyman.kernel.events import DependencyMet, TaskReprioritised, TaskRescheduled
from journeyman.kernel.lifecycle import State
from journeyman.kernel.state import QueueState


def rescheduled(state: QueueState, event: TaskRescheduled, seq: int) -> None:
    """Due at another instant, perhaps with other arguments.  Whatever it waited for before, it waits for its instant now."""
    task = state.tasks[event.task]
    state.agenda.withdraw(task)
    task.state = State.SCHEDULED if event.due_at > event.at else State.PENDING
    task.due_at, task.due_kind, task.first_due = event.due_at, event.due_kind, event.place_at
    task.later += (seq,)
    task.last_seq = seq
    options = event.options
    if options is not None:
        if "payload_digest" in options:
            task.first_digest = task.first_digest or task.payload_digest
            task.payload_seq = seq
            task.payload_len, task.payload_digest, task.codec = options["payload_len"], options["payload_digest"], options["codec"]
        task.latest_at = options.get("latest_at", task.latest_at)
    state.agenda.wait(task)


def reprioritised(state: QueueState, event: TaskReprioritised, seq: int) -> None:
    """It has another place in the order."""
    task = state.tasks[event.task]
    state.agenda.withdraw(task)
    task.priority = event.priority
    task.later += (seq,)
    task.last_seq = seq
    state.agenda.wait(task)


def dependency_met(state: QueueState, event: DependencyMet, seq: int) -> None:
    """It waits for less; when nothing is left it is like any other."""
    task = state.tasks[event.task]
    state.waits.met(task, (entry[0] for entry in event.met))
    task.later += (seq,)
    task.last_seq = seq
    if task.waits_for is None:
        state.agenda.unblock(task)


__all__ = ["dependency_met", "reprioritised", "rescheduled"]

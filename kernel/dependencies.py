"""Dependencies: what a new task waits for, and what becomes of those that wait when what they wait for has ended.

Problem.  A task may name any number of others, in any queue, unfinished or ended; chains and fans are long; and a crash may come between
an end and the news of it.  Choice: what a task waits for is decided once, when it comes in, and is a fact of its TaskSubmitted
(`waits_for`); each DependencyMet takes names away; when none is left it is like any other.  Which names are unmet is thus state, and "the
end is in the journal, the news is not" is found by looking (the shell does, at boot and after a restarted actor), never by remembering.

1. A name is met when its task has succeeded; with after_failure="run", when it has ended in whatever way.
2. With after_failure="cancel" any other end cancels the one that waits, and that end goes on to those that wait for it.  The shell brings
   them on one after another, in bounded steps; nothing here recurses.
3. Only what exists, or came earlier in the same list, can be named.  So there are no cycles, and nothing looks for them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, NamedTuple

from journeyman.kernel.commands import Accepted, Decision, Env, Meet, Refused
from journeyman.kernel.dispatch import cancelled
from journeyman.kernel.events import DependencyMet, Event
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState

BY: Final = "dependency"


class Unmet(NamedTuple):
    """What a task that comes in waits for; `failed`: why it ends at once instead."""

    waits_for: list[bytes]
    failed: str | None = None


def unmet(options: Mapping[str, Any], states: Mapping[bytes, str], fresh: Container[bytes]) -> Unmet | Refused:
    """What of `after` is not met.  `states`: of the tasks that exist, as they stand; `fresh`: ids that came earlier in the same list."""
    waits_for: list[bytes] = []
    failed = None
    runs_anyway = options.get("after_failure") == "run"
    for dependency in options["after"]:
        state = states.get(dependency)
        if state is None and dependency not in fresh:
            text = f"there is no task {id_text(dependency)} to run after; in submit_many only earlier items can be named"
            return Refused("TaskNotFound", text)
        if state not in TERMINAL:
            waits_for.append(dependency)
        elif state != State.SUCCEEDED and not runs_anyway and failed is None:
            failed = reason(dependency, state)
    return Unmet(waits_for, failed)


def reason(dependency: bytes, state: str | None) -> str:
    """Of the cancel of one that waited."""
    return f"dependency {id_text(dependency)} {state or 'is gone'}"


def meet(state: QueueState, command: Meet, now: int, env: Env) -> Decision:
    """A DependencyMet for each task that waited, or its cancel: at most `limit` events.  What is left is still in the index."""
    said: dict[bytes, list[list[Any]]] = {}
    for dependency, ended in command.ended:
        for id in state.waits.on.get(dependency, ()):
            known = said.get(id)
            if known is not None:
                known.append([dependency, ended])
            elif len(said) < command.limit:
                said[id] = [[dependency, ended]]
            else:
                break
    events: list[Event] = []
    for position, (id, met) in enumerate(said.items(), 1):
        failed = _failed(state.tasks[id], met)
        if failed is not None:
            events.append(cancelled(state, id, now, position, failed, BY))
        else:
            events.append(DependencyMet(now, state.name, state.qseq + position, state.epoch, id, met))
    return Decision(events, [Accepted(count=len(events))])


def _failed(task: TaskState, met: Sequence[Sequence[Any]]) -> str | None:
    if task.options is not None and task.options.get("after_failure") == "run":
        return None
    return next((reason(dependency, ended) for dependency, ended in met if ended != State.SUCCEEDED), None)


__all__ = ["BY", "Unmet", "meet", "reason", "unmet"]

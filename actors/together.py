"""Deciding on submits over several queues that are to be recorded together: all or none.

Each queue decides on its own, in the order of their names; nothing is applied before all have decided.  Items may name earlier ones to run
after, in whatever queue: those count as new.  Where such an item comes to another task, because its unique key is taken, the names are
put right and all is decided once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from journeyman.actors.dependencies import names
from journeyman.actors.submission import Submission, renamed, taken_keys
from journeyman.kernel.commands import Decision, Refused
from journeyman.kernel.events import TaskSubmitted
from journeyman.kernel.ids import id_text
from journeyman.kernel.state import TaskState

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor
    from journeyman.actors.shell import Shell


def decide_together(
    shell: Shell, groups: Mapping[QueueActor, Sequence[Submission]], submissions: Sequence[Submission], now: int
) -> list[tuple[QueueActor, Sequence[Submission], Decision]] | Refused:
    """A decision for each queue, in the order of their names; or the first refusal."""
    states = _states_together(shell, submissions)
    if type(states) is Refused:
        return states
    assert type(states) is dict
    known = {actor: shell.known(each.command for each in group) for actor, group in groups.items()}
    taken: dict[bytes, bytes] = {}
    while True:  # once more where a later item names an earlier one that has come to another task
        decided = _decide_each(groups, taken, states, known, now)
        if type(decided) is Refused or taken or not states:
            return decided
        assert type(decided) is list
        for _, group, decision in decided:
            taken.update(taken_keys(group, decision.answers))
        if not taken:
            return decided
        states = {**states, **shell.dependencies.named(taken.values(), submissions[0].actor.name)}


def _decide_each(
    groups: Mapping[QueueActor, Sequence[Submission]],
    taken: Mapping[bytes, bytes],
    states: Mapping[bytes, str],
    known: Mapping[QueueActor, Mapping[bytes, TaskState]],
    now: int,
) -> list[tuple[QueueActor, Sequence[Submission], Decision]] | Refused:
    decided: list[tuple[QueueActor, Sequence[Submission], Decision]] = []
    try:
        for actor in sorted(groups, key=lambda actor: actor.name):
            actor.state.advance(now)
            commands = [each.command for each in groups[actor]]
            if taken:
                commands = [renamed(command, taken) for command in commands]
            decision = actor.propose(commands, now, states=states, known=known[actor])
            if len(decision.events) < len(decision.answers) or decision.sources is not None:
                refused = next((answer for answer in decision.answers if type(answer) is Refused), None)
                if refused is not None:
                    return refused
            decided.append((actor, groups[actor], decision))
            if actor.budget is not None:  # the next queue of the same namespace is decided on before this is applied
                actor.budget.promised += sum(type(event) is TaskSubmitted for event in decision.events)
    finally:
        for actor, _, _ in decided:
            if actor.budget is not None:
                actor.budget.promised = 0
    return decided


def _states_together(shell: Shell, submissions: Sequence[Submission]) -> dict[bytes, str] | Refused:
    """How the tasks stand that items name by `after`: those that exist, and as "new" those that come earlier in the list."""
    wanted = names(each.command for each in submissions)
    if not wanted:
        return {}
    states = shell.dependencies.named(wanted, submissions[0].actor.name)
    earlier: set[bytes] = set()
    for each in submissions:
        for id in (each.command.options or {}).get("after", ()):
            if id not in states and id not in earlier and shell.held(each.command.task) is None:
                text = f"there is no task {id_text(id)} to run after; in submit_many only earlier items can be named"
                return Refused("TaskNotFound", text)
        earlier.add(each.command.task)
    return {**dict.fromkeys(earlier, "new"), **states}

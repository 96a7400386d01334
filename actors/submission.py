"""A task on its way to its queue, and what many of them have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from journeyman.kernel.commands import Accepted, Answer, Refused, Submit
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import shown_name

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor


class Named(Protocol):
    """Who wants to know which task a submit came to: a handle."""

    def name(self, task: bytes) -> None: ...


class Submission(NamedTuple):
    """One task of a bulk submit, on its way to its queue.  `told`: whom to tell which task it came to, once that is durable."""

    actor: QueueActor
    command: Submit
    payload: bytes
    told: list[Named] | None = None


def unique_key(command: Submit) -> str | None:
    """The key that it would take."""
    return None if command.options is None else command.options.get("unique")


def renamed(command: Submit, taken: Mapping[bytes, bytes]) -> Submit:
    """The command, with the names of those it is to run after as they are: a taken unique key has led to another task."""
    options: Any = command.options
    if options is None or taken.keys().isdisjoint(options.get("after", ())):
        return command
    after = list(dict.fromkeys(taken.get(id, id) for id in options["after"]))
    return command._replace(options={**options, "after": after})


def taken_keys(group: Sequence[Submission], answers: Sequence[Answer]) -> dict[bytes, bytes]:
    """For those whose unique key was taken: the task that has it."""
    pairs = ((each.command.task, answer) for each, answer in zip(group, answers, strict=True))
    return {id: answer.task for id, answer in pairs if type(answer) is Accepted and answer.task is not None and answer.task != id}


def by_actor(submissions: Sequence[Submission]) -> dict[QueueActor, Sequence[Submission]]:
    """In the order given within each queue; for most bulk submits, which know one queue, nothing is copied."""
    first = submissions[0][0]
    if all(each[0] is first for each in submissions):
        return {first: submissions}
    groups: dict[QueueActor, list[Submission]] = {}
    for submission in submissions:
        groups.setdefault(submission.actor, []).append(submission)
    return dict(groups)


def same_id_in_two_queues(submissions: Sequence[Submission]) -> Refused | None:
    homes: dict[bytes, QueueActor] = {}
    for actor, command, _, _ in submissions:
        home = homes.setdefault(command.task, actor)
        if home is not actor:
            return Refused(
                "DuplicateTask",
                f"id {id_text(command.task)} is given to tasks of queues {shown_name(home.name)!r} and {shown_name(actor.name)!r}",
            )
    return None

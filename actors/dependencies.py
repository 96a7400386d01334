"""Who must hear of which end: tasks that wait for tasks of any queue (kernel/dependencies.py decides what becomes of them).

Problem.  A task's end may free or cancel ten thousand others, those in turn others, in any queue; and a crash may come between the end
and the news.  Choice: the news is never stored.  Each actor keeps the names of ended tasks that some of its own may wait for (`met`) and
asks, in its next step, how they stand; names wrongly there do no harm.  In the queue of the task itself that is the very step of its end,
so that the next one starts in the same commit.  Actors of other queues are told when the step has been handed over, not sooner: a step
that fails in its middle has ended nothing.  Their events come later in the journal than the end they rest on, so no crash can part them
the wrong way round.  What was not told before a crash is found at boot: every name that anybody waits for is looked up.

A step changes at most OPERATION_CHUNK tasks of its queue for this, and goes on with the next; chains are walked name by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from journeyman.actors.writer import Step
from journeyman.kernel.bounds import OPERATION_CHUNK
from journeyman.kernel.commands import Accepted, Meet, Submit
from journeyman.kernel.events import TaskSubmitted
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.namespace import namespace_of
from journeyman.kernel.state import TaskState
from journeyman.kernel.waits import pinned

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor
    from journeyman.actors.shell import Shell

_NOTHING: Final[Mapping[bytes, str]] = MappingProxyType({})


class Dependencies:
    """Of one engine.  `actors`: those of queues in which something may wait for a task; empty, the usual case, costs nothing."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.actors: dict[str, QueueActor] = {}

    # --- what a submit names --------------------------------------------------------------------------------------------

    def states(self, commands: Iterable[Submit], queue: str) -> Mapping[bytes, str]:
        """How the tasks stand that these commands, for `queue`, name by `after`; unknown ones are left out."""
        wanted = names(commands)
        return self.named(wanted, queue) if wanted else _NOTHING

    def named(self, wanted: Iterable[bytes], queue: str) -> dict[bytes, str]:
        """How these tasks stand, as far as they exist, and are of the same namespace if `queue` has one."""
        namespace = namespace_of(queue)
        found = ((id, self._shell.find(id)) for id in wanted)
        return {id: task.state.value for id, task in found if task is not None and (not namespace or namespace_of(task.queue) == namespace)}

    # --- who waits ------------------------------------------------------------------------------------------------------

    def adopted(self, actor: QueueActor) -> None:
        """`actor` has taken over a state as read from the journal."""
        actor.met.clear()
        if actor.state.waits.on:
            self.actors[actor.name] = actor
        else:
            self.actors.pop(actor.name, None)

    def linked(self, actor: QueueActor, events: Sequence[TaskSubmitted], step: Step) -> None:
        """New tasks, in whose queue something waits: perhaps these."""
        self.actors[actor.name] = actor
        for event in events:
            if event.options is not None and (waits_for := event.options.get("waits_for")) is not None:
                step.waits.append((actor, waits_for))

    def pinned(self, id: bytes) -> bool:
        """Whether a task still waits for this one, or for the news of its end: then it must stay."""
        return pinned(id, (actor.state.waits for actor in self.actors.values()))

    def ended(self, id: bytes, actor: QueueActor, step: Step) -> None:
        """A task of `actor` has ended in this step."""
        for other in list(self.actors.values()):
            waits = other.state.waits.on
            if not waits:
                del self.actors[other.name]
            elif id in waits:
                if other is actor:
                    actor.met[id] = None
                else:
                    step.over.append((other, id))

    def tell(self, step: Step) -> None:
        """A step was handed over: other queues hear of the ends in it, and what came too late for an end hears of that."""
        for actor, id in step.over:
            actor.met[id] = None
            actor.wake()
        for actor, waits_for in step.waits:
            self._look(actor, waits_for)

    def look_again(self, actor: QueueActor) -> None:
        """After a boot or a restart: ends whose news was lost."""
        self._look(actor, actor.state.waits.on)

    def _look(self, actor: QueueActor, names: Iterable[bytes]) -> None:
        over = [id for id in names if (task := self._shell.held(id)) is None or task.state in TERMINAL]
        if over:
            actor.met.update(dict.fromkeys(over))
            actor.wake()

    # --- in the step of an actor ----------------------------------------------------------------------------------------

    def meet(self, actor: QueueActor, now: int, step: Step) -> None:
        """Bring the news in `actor.met` to those of its tasks that wait for it, so many at most."""
        left, waits, met = OPERATION_CHUNK, actor.state.waits.on, actor.met
        while met and left > 0:
            some = list(met)[:left] if len(met) > left else list(met)
            ended: list[tuple[bytes, str | None]] = []
            for id in some:
                task: TaskState | None = self._shell.held(id) if id in waits else None
                if id not in waits or (task is not None and task.state not in TERMINAL):  # told already, or retried by hand meanwhile
                    del met[id]
                else:
                    ended.append((id, None if task is None else task.state.value))
            if ended:
                answer = actor.decide_apply(Meet(ended, left), now, step)
                assert type(answer) is Accepted
                left -= answer.count
        if met:
            actor.wake()


def names(commands: Iterable[Submit]) -> list[bytes]:
    """What these commands name by `after`."""
    found: dict[bytes, None] = {}
    for command in commands:
        options: Any = command.options
        if options is not None and "after" in options:
            found.update(dict.fromkeys(options["after"]))
    return list(found)


__all__ = ["Dependencies", "names"]

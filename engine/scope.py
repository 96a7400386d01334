"""What one door of an engine reaches: everything for the owner, one namespace for a plugin.

Problem.  A plugin must see, name, fill and spend only what is its own, through the same calls as the owner.  Two sets of calls would drift
apart, and a check forgotten in one of them is a hole.  Choice: whatever the doors (engine/engine.py, operating.py, questions.py) want of a
session they ask of a `Scope`, which finds only what it reaches, and which alone translates between the names that its callers use
and those that are stored (kernel/namespace.py).  What is not reached is not there: TaskNotFound, QueueNotFound.

The owner reaches the queues of all namespaces too, as "namespace/queue".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from journeyman.actors.keepsake import Keepsake
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.runtime import Runtime
from journeyman.actors.shell import Shell
from journeyman.engine.handler import Handler
from journeyman.engine.ids import IdSource
from journeyman.engine.reading import Reader
from journeyman.engine.spec import SubmitSpec
from journeyman.engine.task import Task
from journeyman.kernel.commands import Answer, Configure
from journeyman.kernel.namespace import SEPARATOR, local_name, namespace_of, shown_name, stored_name
from journeyman.kernel.state import TaskState

if TYPE_CHECKING:
    from journeyman.engine.queue import Queue
    from journeyman.engine.session import Session


class Scope:
    """Of one session.  `namespace` "" is the owner's."""

    def __init__(self, session: Session, namespace: str = "") -> None:
        self.session = session
        self.namespace = namespace
        self.handlers: dict[str, Handler[..., Any]] = {}  # by name; names are unique in a namespace
        # Where a submit of a handler goes, once it has been found out; neither handlers nor actors ever leave an engine.
        self.routes: dict[Handler[..., Any], tuple[SubmitSpec[..., Any], QueueActor]] = {}
        self._known = 0
        self._actors: list[QueueActor] = []
        self.reader = Reader(self)

    # --- the session's -------------------------------------------------------------------------------------------------

    @property
    def shell(self) -> Shell:
        return self.session.shell

    @property
    def runtime(self) -> Runtime:
        return self.session.runtime

    @property
    def ids(self) -> IdSource:
        return self.session.ids

    async def sound(self) -> None:
        """Wait until every queue's state in memory is what the journal says; what ended the engine if that comes first."""
        await self.runtime.sound()

    def keepsake(self, actor: QueueActor, task_id: bytes) -> Keepsake | None:
        return self.session.keepsake(actor, task_id)

    async def forget_expired(self, ids: Iterable[bytes]) -> bool:
        return await self.session.forget_expired(ids)

    async def create_queue(self, queue: Queue) -> None:
        """Declare a queue; durable on return."""
        await self.session.create_queue(queue)

    async def configure(self, actor: QueueActor, command: Configure) -> Answer:
        """Change a queue's policy, as far as this door may."""
        return await actor.ask(command).wait()

    # --- names ---------------------------------------------------------------------------------------------------------

    def called(self, stored: str) -> str:
        """What callers of this door call a queue."""
        return local_name(stored) if self.namespace else shown_name(stored)

    def stored(self, queue: str) -> str:
        """The journal's name of the queue that a caller of this door names."""
        if self.namespace:
            return stored_name(self.namespace, queue)
        if "/" in queue and queue not in self.shell.actors:
            return queue.replace("/", SEPARATOR, 1)
        return queue

    def reaches(self, stored: str) -> bool:
        return not self.namespace or namespace_of(stored) == self.namespace

    # --- queues and tasks ----------------------------------------------------------------------------------------------

    def actor(self, queue: str) -> QueueActor | None:
        """The queue that a caller of this door names, stored or declared."""
        return None if SEPARATOR in queue else self.shell.actors.get(self.stored(queue))

    def queues(self) -> Sequence[QueueActor]:
        """All that this door reaches."""
        actors = self.shell.actors
        if self._known != len(actors):  # queues come and never go
            self._known = len(actors)
            self._actors = [actor for name, actor in actors.items() if self.reaches(name)]
        return self._actors

    def find(self, task_id: bytes) -> TaskState | None:
        """A task that this door reaches, unless it is unknown, pruned or expired."""
        task = self.shell.find(task_id)
        return task if task is not None and self.reaches(task.queue) else None

    def task(self, task: TaskState, result: bytes | None = None) -> Task:
        """The public form of a task."""
        return self.session.task(task, self.called, result)


__all__ = ["Scope"]

"""A submitted task, held by the one who submitted it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from journeyman.engine.errors import TaskCancelled, TaskFailed
from journeyman.kernel.duration import Seconds, patience
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State

if TYPE_CHECKING:
    from journeyman.actors.attempt import Attempt
    from journeyman.actors.keepsake import Keepsake
    from journeyman.engine.engine import Door
    from journeyman.engine.task import Task

R = TypeVar("R")


class Handle(Generic[R]):
    """Wait for a task, read its result, cancel it.  `id` is all that is needed to make another: `engine.get(id)`."""

    __slots__ = ("_engine", "_id", "_keepsake", "_pending_in")

    def __init__(self, engine: Door, task_id: bytes, pending_in: Attempt | None = None, keepsake: Keepsake | None = None) -> None:
        self._engine = engine
        self._id = task_id
        self._keepsake = keepsake
        self._pending_in = pending_in  # the attempt whose success would create it

    @property
    def id(self) -> str:
        return id_text(self._id)

    def name(self, task_id: bytes) -> None:
        """For the engine: the task that a `ctx.submit` came to, where another has its unique key."""
        self._id = task_id

    def come_to(self, task_id: bytes, keepsake: Keepsake | None) -> None:
        """For the engine: the same, for a task of a transaction."""
        self._id, self._keepsake = task_id, keepsake

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def __await__(self) -> Generator[Any, None, Handle[R]]:
        """`await ctx.submit(...)` and `ctx.submit(...)` give the same handle."""
        yield from ()
        return self

    async def wait(self, timeout: Seconds | None = None) -> Task:
        """The task once it has ended, however it ended.

        Raises trio.TooSlowError after `timeout` (seconds, or a timedelta), ValueError for one that is no duration, EngineStopped when the
        engine closes first, QueueBroken when its queue is given up, TaskNotFound when retention has dropped it.
        """
        return await self._engine.wait_for(self._id, patience(timeout), self._pending_in, self._keepsake)

    async def result(self, timeout: Seconds | None = None) -> R:
        """What the handler returned.

        Raises TaskFailed (`.failure` says how; also for an interrupted task) or TaskCancelled (`.reason`), and what `wait` raises.
        """
        task = await self.wait(timeout)
        if task.state is State.SUCCEEDED:
            value: R = task.result
            return value
        if task.state is State.CANCELLED:
            raise TaskCancelled(task)
        raise TaskFailed(task)

    async def cancel(self, reason: str = "", *, running: bool = True) -> None:
        """As `Engine.cancel`."""
        await self._engine.cancel(self.id, reason, running=running)

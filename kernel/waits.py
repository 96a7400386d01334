"""Who waits for whom, in one queue: for each task that an unfinished one names by `after`, those that wait for it.

Derived from the tasks (`TaskState.waits_for`), kept up to date by `apply`, rebuilt on load.  A name leaves when the last that waits for it
has heard of its end, or has ended itself; so what stands here is exactly what prune must leave alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from journeyman.kernel.taskstate import TaskState

_NOTHING: Final[Collection[bytes]] = ()


def pinned(id: bytes, waiting: Iterable[Waits]) -> bool:
    """Whether a task still waits for this one, or for the news of its end: then it must stay.  `waiting`: of all queues."""
    return any(id in waits.on for waits in waiting)


class Waits:
    """`on`: id of a dependency, in whatever queue, -> tasks of this queue that wait for it, oldest first."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on: dict[bytes, dict[bytes, TaskState]] = {}

    def begin(self, task: TaskState) -> None:
        """`task` waits for what its `waits_for` says."""
        for dependency in task.waits_for or _NOTHING:
            self.on.setdefault(dependency, {})[task.id] = task

    def met(self, task: TaskState, dependencies: Iterable[bytes]) -> None:
        """`task` waits for these no longer."""
        waits_for = task.waits_for
        if waits_for is None:
            return
        for dependency in dependencies:
            waits_for.discard(dependency)
            self._forget(task, dependency)
        if not waits_for:
            task.waits_for = None

    def end(self, task: TaskState) -> None:
        """`task` has ended without having started."""
        for dependency in task.waits_for or _NOTHING:
            self._forget(task, dependency)
        task.waits_for = None

    def _forget(self, task: TaskState, dependency: bytes) -> None:
        waiting = self.on.get(dependency)
        if waiting is not None:
            waiting.pop(task.id, None)
            if not waiting:
                del self.on[dependency]

    def rebuild(self, unfinished: Iterable[TaskState]) -> None:
        """Anew, in the order of submission, as the live index came about."""
        self.on = {}
        for task in sorted(task for task in unfinished if task.waits_for):
            self.begin(task)


__all__ = ["Waits"]

"""What a handle keeps of a task that its queue drops at once."""

from __future__ import annotations

from weakref import WeakSet, WeakValueDictionary

from journeyman.kernel.state import TaskState


class Keepsake:
    """How a task ended that its queue drops at once, for whoever still holds its handle."""

    __slots__ = ("__weakref__", "result", "task")

    def __init__(self) -> None:
        self.task: TaskState | None = None
        self.result = b""

    def keep(self, task: TaskState) -> None:
        """It has ended so, and that is durable."""
        self.task = task

    def keep_result(self, result: bytes) -> None:
        self.result = result


class Keepsakes(WeakValueDictionary[bytes, Keepsake]):
    """By task id, for as long as a handle holds them."""

    def __init__(self) -> None:
        super().__init__()
        self._former: WeakSet[Keepsake] = WeakSet()  # of tasks whose ids are others' by now

    def of(self, task: bytes) -> Keepsake:
        """For a handle of a task that its queue may drop the moment it ends."""
        return self.setdefault(task, Keepsake())

    def another_life(self, task: bytes) -> None:
        """A task with this id begins.  What is kept of one that had it before is for the handles of that one."""
        former = self.get(task)
        if former is not None and former.task is not None:
            self._former.add(former)
            del self[task]

    def knows(self, task: bytes, keepsake: Keepsake) -> bool:
        """Whether it is of a task of this engine, with this id."""
        return self.get(task) is keepsake or keepsake in self._former

    def all(self) -> list[Keepsake]:
        return [*self.values(), *self._former]

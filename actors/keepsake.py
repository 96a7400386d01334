"""What a handle keeps of a task that its queue drops at once."""

from __future__ import annotations

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

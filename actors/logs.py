"""What the engine says to the `logging` module: logger "journeyman", warnings and worse, each about something an operator can act on.

Python prints the warnings of a logger nobody configured; the null handler keeps a program quiet that asked for no logs.  Every record
about a task bears the same extra fields, so that a structured formatter can index them: queue, task (its id as text), handler, attempt.
"""

from __future__ import annotations

import logging
from typing import Any, Final
from uuid import UUID

from journeyman.kernel.namespace import shown_name
from journeyman.kernel.taskstate import TaskState

LOG: Final = logging.getLogger("journeyman")
LOG.addHandler(logging.NullHandler())


def about(task: TaskState, **more: Any) -> dict[str, Any]:
    """The extra fields of a record about `task`."""
    return {"queue": shown_name(task.queue), "task": str(UUID(bytes=task.id)), "handler": task.handler, "attempt": task.attempt} | more

"""A declared queue as the shell sees it: read once, when an engine is entered (DECISIONS 34)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from journeyman.actors.budget import Budget
from journeyman.actors.lane import Runnable
from journeyman.engine.handler import Handler
from journeyman.engine.queue import Queue
from journeyman.kernel.policy import Policy


class DeclaredLane:
    """One engine's reading of a `Queue`: its policy and its handlers, sealed."""

    __slots__ = ("backoff", "budget", "handlers", "name", "parameters", "policy", "queue", "retry_on", "runnables")

    def __init__(self, queue: Queue, *, name: str | None = None, policy: Policy | None = None, budget: Budget | None = None) -> None:
        """`name`, `policy`: its stored name and what it is granted, where a namespace has a say in that; `budget`: its namespace's."""
        self.handlers: Mapping[str, Handler[..., Any]] = dict(queue.enter())
        for handler in self.handlers.values():
            handler.check_portable()
        self.queue = queue
        self.name: str = name or queue.name
        self.policy: Policy = policy or queue.policy
        self.budget = budget
        self.retry_on: tuple[type[BaseException], ...] = queue.retry.on
        backoff = queue.retry.backoff
        self.backoff: Callable[[int], float] | None = backoff if callable(backoff) else None
        self.runnables: Mapping[str, Runnable] = self.handlers
        self.parameters: Mapping[str, Sequence[str]] = {name: handler.positional for name, handler in self.handlers.items()}

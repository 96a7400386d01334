"""What the shell must know of a declared queue, and of its handlers.  `engine.lane.DeclaredLane` and `engine.handler.Handler` are such."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from journeyman.actors.budget import Budget
from journeyman.kernel.policy import Policy


class Runnable(Protocol):
    """One handler."""

    @property
    def name(self) -> str: ...
    @property
    def threaded(self) -> bool: ...
    @property
    def apart(self) -> bool:
        """Whether it runs in a process of its own."""
        ...

    @property
    def takes_context(self) -> bool: ...
    @property
    def timeout_us(self) -> int | None: ...
    @property
    def heartbeat_us(self) -> int | None: ...
    @property
    def function(self) -> Callable[..., Any]: ...

    def decode_call(self, payload: bytes) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call; raises whatever shows that they no longer fit."""
        ...

    def encode_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes: ...

    def encode_result(self, value: Any) -> bytes:
        """Raises for a value that cannot be stored."""
        ...

    def decode_result(self, data: bytes) -> Any: ...


class Lane(Protocol):
    """What this process declares of a queue; `engine.queue.Queue` is one."""

    @property
    def name(self) -> str: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def retry_on(self) -> tuple[type[BaseException], ...]: ...
    @property
    def backoff(self) -> Callable[[int], float] | None: ...
    @property
    def runnables(self) -> Mapping[str, Runnable]: ...
    @property
    def parameters(self) -> Mapping[str, Sequence[str]]:
        """By handler: the names of its positional parameters, the context left out."""
        ...

    @property
    def budget(self) -> Budget | None:
        """What it shares with the other queues of its namespace."""
        ...

"""A queue as its owner declares it: one policy and the handlers that run under it.

A Queue is not tied to an engine.  Its policy never changes, its handlers are read and sealed when the first engine is entered, and any
number of engines may share it.  What tasks it holds is the journal's business.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from journeyman.engine.errors import HandlerExists
from journeyman.engine.handler import Handler, RunIn
from journeyman.engine.names import check_name
from journeyman.engine.spec import UNSET, Limit
from journeyman.kernel.bounds import PAYLOAD_DEFAULT_MAX_BYTES
from journeyman.kernel.duration import Seconds
from journeyman.kernel.policy import FairBy, KeyOrder, OnCrash, Policy, Rate, Retention, Retry

if TYPE_CHECKING:
    from journeyman.engine.context import Context

P = ParamSpec("P")
R = TypeVar("R")


class ContextDecorator(Protocol):
    """Takes functions whose first parameter is the context, whatever its annotation."""

    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Handler[P, R]: ...


class PlainDecorator(Protocol):
    """Takes functions without a context."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Handler[P, R]: ...


class Decorator(Protocol):
    """Takes either: the annotation of the first parameter tells."""

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Handler[P, R]: ...


class Queue:
    """A named lane.

    name: 1 to 128 bytes of UTF-8.  concurrency: attempts at once.  retry: how often a task may fail and be lost, and the pauses between.
    on_crash: "retry", or "interrupt" to never run again what was running when the process died.  rate: starts per time.  timeout: seconds
    for an attempt.  heartbeat: seconds without `ctx.heartbeat()` that fail an attempt (an async handler that swallows the cancellation and
    returns has succeeded all the same).  retention: how long ended tasks are kept.
    max_pending: waiting tasks, beyond which submits raise QueueFull.  max_payload: bytes of a task's encoded arguments, inclusive.
    per_key: attempts at once of tasks with one serialization key (`using(key=)`).  key_order: "strict" (first in, first out per key,
    whatever retries and snoozes) or "relaxed" (later tasks of a key pass one that waits for its backoff or snooze).  aging: seconds of
    waiting that outweigh one point of priority, so that low priorities do not starve; None: they may.  fair_by: "owner" or "key": slots and
    rate are shared among owners (`using(owner=)`), or among keys, in turns; None: first come, first served.  weight: of this queue beside
    others that want the engine's slots (`Engine(max_concurrency=)`) or draw from the same limiter.
    rate_per_key: starts per time of the tasks of each serialization key; those without a key are not bound by it.

    InvalidName or ValueError if one of them is out of range.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int = 1,
        retry: Retry | None = None,
        on_crash: OnCrash = "retry",
        rate: Rate | None = None,
        timeout: Seconds | None = None,
        heartbeat: Seconds | None = None,
        retention: Retention | None = None,
        max_pending: int | None = None,
        max_payload: int = PAYLOAD_DEFAULT_MAX_BYTES,
        per_key: int = 1,
        key_order: KeyOrder = "strict",
        aging: Seconds | None = None,
        fair_by: FairBy | None = None,
        weight: int = 1,
        rate_per_key: Rate | None = None,
    ) -> None:
        self._name = check_name(name, "queue name")
        rates = ((rate, Rate, "rate"), (rate_per_key, Rate, "rate_per_key"))
        for value, kind, what in ((retry, Retry, "retry"), *rates, (retention, Retention, "retention")):
            if value is not None and not isinstance(value, kind):
                raise ValueError(f"{what} must be a {kind.__name__}, such as {what}={kind.__name__}(...), not {value!r}")
        if rate is not None and rate.name is not None:
            check_name(rate.name, "the name of a rate")
        self._retry = retry if retry is not None else Retry()
        self._policy = Policy.compile(
            concurrency=concurrency,
            retry=self._retry,
            on_crash=on_crash,
            rate=rate,
            timeout=timeout,
            heartbeat=heartbeat,
            retention=retention,
            max_pending=max_pending,
            max_payload=max_payload,
            per_key=per_key,
            key_order=key_order,
            aging=aging,
            fair_by=fair_by,
            weight=weight,
            rate_per_key=rate_per_key,
        )
        self._handlers: dict[str, Handler[..., Any]] = {}
        self._sealed = False

    def __repr__(self) -> str:
        return f"<Queue {self._name!r} concurrency={self._policy.concurrency} handlers={sorted(self._handlers)}>"

    @property
    def name(self) -> str:
        return self._name

    @property
    def retry(self) -> Retry:
        """As declared: what a journal cannot hold of it (exception types, a backoff function) lives here."""
        return self._retry

    @property
    def policy(self) -> Policy:
        """Everything else, compiled."""
        return self._policy

    @property
    def handlers(self) -> Mapping[str, Handler[..., Any]]:
        """By name."""
        return MappingProxyType(self._handlers)

    def enter(self) -> Mapping[str, Handler[..., Any]]:
        """For an engine that is being entered: no handler can be added from now on, and every annotation must be known by now.

        NameError if one of them is not, TypeError if one cannot be stored.
        """
        for handler in self._handlers.values():
            handler.resolve()
        self._sealed = True
        return self.handlers

    @overload
    def handler(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
    @overload
    def handler(self, function: Callable[Concatenate[Context, P], R], /) -> Handler[P, R]: ...
    @overload
    def handler(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...
    @overload
    def handler(self, function: Callable[P, R], /) -> Handler[P, R]: ...
    @overload
    def handler(
        self, /, *, name: str | None = None, timeout: Limit = UNSET, heartbeat: Limit = UNSET, run_in: RunIn | None = None, ctx: None = None
    ) -> Decorator: ...
    @overload
    def handler(
        self,
        /,
        *,
        name: str | None = None,
        timeout: Limit = UNSET,
        heartbeat: Limit = UNSET,
        run_in: RunIn | None = None,
        ctx: Literal[True],
    ) -> ContextDecorator: ...
    @overload
    def handler(
        self,
        /,
        *,
        name: str | None = None,
        timeout: Limit = UNSET,
        heartbeat: Limit = UNSET,
        run_in: RunIn | None = None,
        ctx: Literal[False],
    ) -> PlainDecorator: ...
    def handler(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        timeout: Limit = UNSET,
        heartbeat: Limit = UNSET,
        run_in: RunIn | None = None,
        ctx: bool | None = None,
    ) -> Any:
        """Register a function, as `@queue.handler` or `@queue.handler(name="send", timeout=5)`; what it returns is submitted and still
        callable.

        name: by which the journal knows it (default: the function's).  timeout, heartbeat: seconds for an attempt, None for none, instead
        of the queue's.  run_in: "thread", which is where a plain `def` runs anyway, or "process", which can be killed.  ctx: whether the
        first parameter is the context; by default its annotation says.

        HandlerExists if the queue has one of that name, RuntimeError once an engine has been entered with this queue, TypeError for a
        signature or an annotation that cannot be stored.
        """

        def register(function: Callable[..., Any], depth: int) -> Handler[..., Any]:
            if self._sealed:
                raise RuntimeError(f"queue {self._name!r} has been read by an engine; register handlers before the engine is entered")
            # A class defined in a function can be named in an annotation of a handler defined beside it.
            scope = sys._getframe(depth).f_locals if "<locals>" in getattr(function, "__qualname__", "") else None
            made: Handler[..., Any] = Handler(
                function, self._name, name=name, timeout=timeout, heartbeat=heartbeat, run_in=run_in, ctx=ctx, scope=scope
            )
            if made.name in self._handlers:
                raise HandlerExists(f"queue {self._name!r} has a handler {made.name!r} already; give this one another name=")
            self._handlers[made.name] = made
            return made

        return register(function, 2) if function is not None else lambda function: register(function, 2)


def queues_of(given: Iterable[Queue]) -> tuple[Queue, ...]:
    """What an engine was given as its queues.  TypeError unless that is what they are."""
    if isinstance(given, (Queue, str)) or not isinstance(given, Iterable):
        raise TypeError(f"an engine takes a list of Queues, as in queues=[Queue(...)], not {given!r}")
    queues = tuple(given)
    for each in queues:
        if not isinstance(each, Queue):
            raise TypeError(f"an engine takes a list of Queues, as in queues=[Queue(...)], not one with {each!r} in it")
    return queues


__all__ = ["ContextDecorator", "Decorator", "PlainDecorator", "Queue", "queues_of"]

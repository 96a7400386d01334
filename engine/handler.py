"""A handler: the user's function, with a name that the journal knows it by and codecs for its arguments and result.

The function itself stays what it was: calling the handler calls it, in this process, with no task involved.
"""

from __future__ import annotations

import functools
import inspect
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Literal

from journeyman.engine.annotation import storable
from journeyman.engine.names import check_name
from journeyman.engine.payload import AnyCall, CallCodec, ResultCodec
from journeyman.engine.signature import Bound, shape_of, types_of
from journeyman.engine.spec import UNSET, Limit, P, R_co, SubmitSpec, Submittable, limit_us

RunIn = Literal["thread", "process"]


class Handler(Submittable[P, R_co]):
    """A registered function.  Made by `Queue.handler`; submitted with `Engine.submit(handler, ...)`.

    `timeout_us` and `heartbeat_us`: None leaves them to the queue, 0 means none at all.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        queue_name: str,
        *,
        name: str | None = None,
        timeout: Limit = UNSET,
        heartbeat: Limit = UNSET,
        run_in: RunIn | None = None,
        ctx: bool | None = None,
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        """`scope`: names that string annotations may use besides the function's globals."""
        if not callable(function):
            raise TypeError(f"a handler must be a function, not {type(function).__name__}")
        self.name = check_name(name if name is not None else getattr(function, "__name__", None) or "", "handler name")
        self.queue_name = queue_name
        self.function = function
        self.apart = run_in == "process"
        if self.apart:
            import journeyman.actors.processes  # noqa: F401  # now: what it does at the interpreter's exit goes by the order of registration
        self.threaded = _threaded(function, self.name, run_in) and not self.apart
        self.timeout_us = None if timeout is UNSET else limit_us(timeout, "timeout")
        self.heartbeat_us = None if heartbeat is UNSET else limit_us(heartbeat, "heartbeat")
        self._scope = dict(scope or {})
        self._shape = shape_of(function, self.name, ctx, self._scope)
        self.takes_context = self._shape.takes_context
        self.positional = tuple(p.name for p in self._shape.parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
        self._calls: CallCodec | None = None
        self._results = ResultCodec()
        self._plain: SubmitSpec[P, R_co] = SubmitSpec(self)
        functools.update_wrapper(self, function)
        with suppress(NameError):  # an annotation may name what is defined further down; an engine will ask again
            self.resolve()

    def resolve(self) -> None:
        """Resolve the annotations and compile the codecs, once.

        NameError if one of them names what does not exist (yet), TypeError if it names what cannot be stored and rebuilt.
        """
        if self._calls is None:
            types = types_of(self.function, self.name, self._shape, self._scope)
            self._results = ResultCodec(storable(types.result, f"handler {self.name!r}, its result"))
            self._calls = CallCodec(self.name, self._shape, types)
            self._scope = {}

    def check_portable(self) -> None:
        """A handler that runs in a process is found there by its name.  TypeError if it cannot be, ImportError without the library."""
        if not self.apart:
            return
        if find_spec("trio_parallel") is None:
            raise ImportError("run_in=\"process\" needs trio-parallel: pip install 'journeyman[process]'")
        try:
            pickle.dumps(self)
        except pickle.PicklingError as error:
            raise TypeError(f'{error}, and run_in="process" makes it travel') from None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself: no task, no queue.  One that takes a context wants one here too."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Handler {self.name!r} of queue {self.queue_name!r}>"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        """By qualified name, so that a worker process finds it by importing the module."""
        module, path = getattr(self.function, "__module__", ""), getattr(self.function, "__qualname__", "")
        try:
            found = _imported(module, path)
        except (AttributeError, KeyError):
            found = None
        if found is not self:
            raise pickle.PicklingError(
                f"handler {self.name!r} cannot be found as {module}.{path}; only handlers at the top level of a module can travel"
            )
        return _import, (module, path)

    @property
    def spec(self) -> SubmitSpec[P, R_co]:
        """No options."""
        return self._plain

    # --- arguments and results ----------------------------------------------------------------------------------------

    def encode_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """The bytes of a call.  TypeError for a wrong call, InvalidPayload for arguments that cannot be stored or do not fit."""
        if self._calls is None:
            self.resolve()
        return self._calls.encode(args, kwargs)  # type: ignore[union-attr]

    def decode_call(self, payload: bytes) -> Bound:
        """The arguments, typed by annotation.  TypeError or InvalidPayload if they no longer fit."""
        if self._calls is None:
            self.resolve()
        return self._calls.decode(payload)  # type: ignore[union-attr]

    def encode_result(self, value: Any) -> bytes:
        """The bytes of a result.  InvalidPayload if it cannot be stored."""
        return self._results.encode(value, self.name)

    def decode_result(self, data: bytes) -> Any:
        """The result, typed by annotation where it fits."""
        return self._results.decode(data)


class NamedHandler(Submittable[..., Any]):
    """A handler known by name only, whose code another process has.  Made by `Engine.handler(name, queue=...)`."""

    def __init__(self, name: str, queue_name: str) -> None:
        self.name = check_name(name, "handler name")
        self.queue_name = check_name(queue_name, "queue name")
        self._calls = AnyCall(name)
        self._results = ResultCodec()
        self._plain: SubmitSpec[..., Any] = SubmitSpec(self)

    def __repr__(self) -> str:
        return f"<NamedHandler {self.name!r} of queue {self.queue_name!r}>"

    @property
    def spec(self) -> SubmitSpec[..., Any]:
        """No options."""
        return self._plain

    def encode_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """The bytes of a call; whether it fits is found out where the code is."""
        return self._calls.encode(args, kwargs)

    def decode_call(self, payload: bytes) -> Bound:
        return self._calls.decode(payload)

    def encode_result(self, value: Any) -> bytes:
        return self._results.encode(value, self.name)

    def decode_result(self, data: bytes) -> Any:
        return self._results.decode(data)


def named_handler(name: str, queue: str) -> NamedHandler:
    """The handler `name` of `queue`, without its code."""
    return NamedHandler(name, queue)


def _threaded(function: Callable[..., Any], name: str, run_in: str | None) -> bool:
    """Whether the function runs in a thread: a plain `def` does."""
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inner.func
    called = inner if inspect.isroutine(inner) else type(inner).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError(f"handler {name!r} is a generator; a handler returns its result")
    is_async = inspect.iscoroutinefunction(called)
    if run_in not in (None, "thread", "process"):
        raise ValueError(
            f'run_in={run_in!r} is not available; a "def" handler runs in a thread (run_in="thread") or in a process (run_in="process"), '
            'an "async def" one on the loop'
        )
    if is_async and run_in is not None:
        raise ValueError(f'handler {name!r} is async; run_in="{run_in}" is for a plain def')
    return not is_async


def _imported(module: str, path: str) -> Any:
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _import(module: str, path: str) -> Any:
    __import__(module)
    return _imported(module, path)


__all__ = ["Handler", "NamedHandler", "RunIn", "named_handler"]

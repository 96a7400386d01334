"""A plain `def` handler that runs in a process of its own: what goes there, what is done there, what comes back.

    Job           a call, and the handler by its name
    carry_out     do it: in the worker process, or in line where a simulation has no processes
    Ended         what became of it; `value_of` returns or raises it on the loop's side

Problem.  Arguments, results and exceptions must cross to another process, and an exception of the user's may not even be picklable.
Choice: arguments and results cross as the bytes that the journal holds, so what can be stored can cross.  An exception crosses pickled; one
that cannot be, as its type and its text, so that `on=` still knows it; if not even its type can be imported, as a `RemoteError`.  Its
traceback comes along as text, as concurrent.futures does it.

Rejected: to pickle arguments and results (a second set of rules for what a handler may take).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from journeyman.actors.ending import describe
from journeyman.actors.lane import Runnable
from journeyman.actors.steering import Cancel, Fatal, RetryLater, Snooze

_DEPTH: Final = 8  # of groups and causes that are taken apart; deeper ones cross as text
_PARTS: Final = 100  # of a group
Say = Callable[[int | None, str | None], object]  # progress: parts per million, a message; both None: a sign of life


class Portable(Protocol):
    """A context that travels."""

    def speak(self, say: Say) -> None:
        """From now on what the handler says goes there."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A call of `handler`, encoded.  context: None for a handler that takes none."""

    handler: Runnable
    call: bytes
    context: Portable | None


@dataclass(frozen=True, slots=True)
class Raised:
    """error: the exception, pickled; b"" if it cannot be.  kind: its type, pickled; b"" if that cannot be either.

    steer: of an exception that steers the task, its class among ours, and what it says.  parts: of a group.  cause: of one that steers.
    """

    error: bytes
    kind: bytes
    name: str
    message: str
    traceback: str
    steer: tuple[str, tuple[Any, ...]] | None = None
    parts: tuple[Raised, ...] | None = None
    cause: Raised | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """result: encoded; b"" for None."""

    result: bytes = b""
    raised: Raised | None = None


class RemoteError(Exception):
    """What a handler raised in a worker process, where its own type cannot be had here."""


class WorkerDied(Exception):
    """The worker process ended in the middle of a handler: killed, out of memory, or by the handler's own doing."""


class RemoteTraceback(Exception):
    """The traceback of an exception, as text of the process in which it was raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def carry_out(job: Job, say: Say) -> Ended:
    """Run the handler.  Whatever it raises is in the answer."""
    try:
        args, kwargs = job.handler.decode_call(job.call)
        if job.context is not None:
            job.context.speak(say)
            value = job.handler.function(job.context, *args, **kwargs)
        else:
            value = job.handler.function(*args, **kwargs)
        return Ended(b"" if value is None else job.handler.encode_result(value))
    except BaseException as error:
        return Ended(raised=_packed(error))


def value_of(ended: Ended, handler: Runnable) -> Any:
    """What the handler returned; raises what it raised."""
    if ended.raised is not None:
        raise _unpacked(ended.raised)
    return None if not ended.result else handler.decode_result(ended.result)


def _packed(error: BaseException, depth: int = 0) -> Raised:
    """Groups and exceptions that steer are taken apart: what they hold may be anything."""
    name, message, traceback, _ = describe(error)
    steer, cause = _steering(error)
    parts: tuple[Raised, ...] | None = None
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH and len(error.exceptions) <= _PARTS:
        parts = tuple(_packed(one, depth + 1) for one in error.exceptions)
    if steer is not None or parts is not None:
        shipped = _packed(cause, depth + 1) if isinstance(cause, BaseException) and depth < _DEPTH else None
        said = error.message if isinstance(error, BaseExceptionGroup) else message
        return Raised(b"", b"", name, said, traceback, steer, parts, shipped)
    return Raised(_pickled(error), _pickled(type(error)), name, message, traceback)


def _steering(error: BaseException) -> tuple[tuple[str, tuple[Any, ...]] | None, object]:
    """What an exception says that steers the task, a subclass's too, and its cause."""
    if isinstance(error, RetryLater):
        text = error.cause if isinstance(error.cause, str) else None
        return ("RetryLater", (text, error.delay, error.scope)), error.cause
    if isinstance(error, Snooze):
        return ("Snooze", (error.delay, error.until)), None
    if isinstance(error, Cancel):
        return ("Cancel", (str(error.reason),)), None
    if isinstance(error, Fatal):
        return ("Fatal", (describe(error)[1],)), error.__cause__
    return None, None


def _pickled(thing: object) -> bytes:
    try:
        data = pickle.dumps(thing)
        pickle.loads(data)  # what can be pickled cannot always be unpickled: an exception whose __init__ wants more than its args
    except BaseException:  # whatever the user's own __reduce__ or __init__ raises
        return b""
    return data


def _unpacked(raised: Raised) -> BaseException:
    if raised.steer is not None:
        return _steered(*raised.steer, raised)
    if raised.parts is not None:
        error: BaseException = BaseExceptionGroup(raised.message, [_unpacked(one) for one in raised.parts])
    else:
        error = _rebuilt(raised)
    if error.__cause__ is None:
        error.__cause__ = RemoteTraceback(raised.traceback)
    return error


def _steered(name: str, said: tuple[Any, ...], raised: Raised) -> BaseException:
    cause = None if raised.cause is None else _unpacked(raised.cause)
    if name == "RetryLater":
        text, delay, scope = said
        return RetryLater(cause if cause is not None else text or raised.message, delay, scope=scope)
    if name == "Snooze":
        return Snooze(said[0], until=said[1])
    if name == "Cancel":
        return Cancel(*said)
    fatal = Fatal(*said)
    fatal.__cause__ = cause
    fatal.add_note(raised.traceback)
    return fatal


def _rebuilt(raised: Raised) -> BaseException:
    error = _loaded(raised.error)
    if isinstance(error, BaseException):
        return error
    kind = _loaded(raised.kind)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        with suppress(BaseException):  # a __new__ of its own may want anything
            made = kind.__new__(kind, raised.message)
            made.args = (raised.message,)
            return made
    return RemoteError(f"{raised.name}: {raised.message}")


def _loaded(data: bytes) -> object:
    if not data:
        return None
    try:
        return pickle.loads(data)
    except BaseException:  # its module is not here, or its __init__ objects
        return None


__all__ = ["Ended", "Job", "Portable", "RemoteError", "Say", "WorkerDied", "carry_out", "value_of"]

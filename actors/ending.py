"""Any ending of a handler, turned into an outcome.

Problem.  A handler may return something that cannot be stored, raise anything at all (SystemExit, a group, an exception whose `str()`
raises), be cancelled by its time-out, by an operator or by a stop, and do several of these at once.
Choice: one function looks at what was raised and at why the attempt's scope was cancelled, in a fixed order: a stop is free; a cancel is a
cancel; a time-out is a time-out even when the clean-up raised (its error is attached); only then does the exception speak for
itself.  Whatever is kept of an error is text, bounded, made without trusting the exception (DECISIONS 13-15).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

from journeyman.actors.steering import Cancel, Fatal, RetryLater, Snooze
from journeyman.journal.instants import instant_us
from journeyman.kernel.bounds import ERROR_MESSAGE_MAX, ERROR_MRO_MAX, ERROR_TRACEBACK_MAX, ERROR_TYPE_MAX, REASON_MAX
from journeyman.kernel.commands import Failed, Outcome, Released, Snoozed, Stopped
from journeyman.kernel.duration import microseconds
from journeyman.kernel.events import Error

TIMEOUT: Final = "timeout"
HEARTBEAT: Final = "heartbeat"
CANCEL: Final = "cancel"
STOP: Final = "stop"


class AttemptTimeout(Exception):
    """The attempt ran longer than its time-out, or was silent for longer than its heartbeat."""


def timed_out(why: str | None, elapsed_us: int, cleanup: BaseException | None) -> AttemptTimeout:
    """The error of an attempt that a time-out or a lost heartbeat has ended.  `cleanup`: what its clean-up raised, which is attached."""
    text = f"the {why} of the attempt struck after {elapsed_us / 1e6:.3f} s"
    if cleanup is None or isinstance(cleanup, AttemptTimeout):
        return AttemptTimeout(text)
    kind, message, _, _ = describe(cleanup)
    error = AttemptTimeout(f"{text}; then its clean-up raised {kind}: {message}")
    error.__cause__ = cleanup
    return error


def describe(error: BaseException) -> Error:
    """Type name, message, traceback and the names along the MRO: bounded text, whatever the exception does."""
    kind = type(error)
    return (
        _name(kind) if kind.__module__ == "builtins" else _bounded(_text(lambda: f"{kind.__module__}.{kind.__qualname__}"), ERROR_TYPE_MAX),
        _bounded(_text(lambda: str(error)), ERROR_MESSAGE_MAX),
        _tail(_text(lambda: "".join(traceback.format_exception(error))), ERROR_TRACEBACK_MAX),
        [_name(each) for each in _lineage(kind)],
    )


def _name(kind: type) -> str:
    return _bounded(_text(lambda: kind.__qualname__), ERROR_TYPE_MAX)


def _lineage(kind: type) -> tuple[type, ...]:
    """It and the classes it derives from, without `object`.  Of too many the first ones, and the last two: Exception and BaseException."""
    every = tuple(each for each in kind.__mro__ if each is not object)
    return every if len(every) <= ERROR_MRO_MAX else every[: ERROR_MRO_MAX - 2] + every[-2:]


def storable(value: object, most: int) -> str:
    """Text that a handler gave, as the journal can hold it: bounded, and nothing that UTF-8 cannot store."""
    return _bounded(_text(lambda: str(value)), most)


def _text(make: Callable[[], str]) -> str:
    try:
        # A lone surrogate cannot be stored as UTF-8; show it escaped.
        return make().encode("utf-8", "backslashreplace").decode("utf-8")
    except BaseException as problem:
        return f"<no text: {type(problem).__name__} while it was made>"


def _bounded(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def _tail(text: str, limit: int) -> str:
    """The end of a traceback says more than its beginning."""
    return text if len(text) <= limit else "\u2026" + text[1 - limit :]


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions of a group, however nested, each once; of a plain exception, itself."""
    found, todo, seen = [], [error], set[int]()
    while todo:
        each = todo.pop()
        if id(each) in seen:  # in a group that holds one of its parts twice, and that again, there are more ways than time
            continue
        seen.add(id(each))
        if isinstance(each, BaseExceptionGroup):
            todo.extend(reversed(each.exceptions))
        else:
            found.append(each)
    return found


def unwrap(error: BaseException) -> BaseException:
    """A lone steering exception inside a group speaks for the group."""
    found = leaves(error)
    if len(found) == 1 and isinstance(found[0], (Fatal, RetryLater, Snooze, Cancel)):
        return found[0]
    return error


def outcome_of(
    error: BaseException,
    *,
    why: str | None,
    elapsed_us: int,
    on: tuple[type[BaseException], ...],
    options: dict[str, Any] | None,
) -> Outcome:
    """The outcome of an attempt that raised `error`; `why` says why its scope was cancelled, if it was."""
    if why == STOP or isinstance(error, KeyboardInterrupt):
        return Released(elapsed_us, "stop", options)
    if why == CANCEL:
        return Stopped(elapsed_us, None, None, {**(options or {}), "error": list(describe(error))})
    if why in (TIMEOUT, HEARTBEAT):
        # A time-out is retried whatever `on` says.
        return Failed(elapsed_us, describe(error), why or TIMEOUT, True, None, options)
    error = unwrap(error)
    if isinstance(error, Cancel):
        return Stopped(elapsed_us, storable(error.reason, REASON_MAX), "handler", options)
    if isinstance(error, Snooze):
        if error.until is not None:
            return Snoozed(elapsed_us, 0, instant_us(error.until, "until"), options)
        return Snoozed(elapsed_us, microseconds(error.delay, "delay"), None, options)
    if isinstance(error, RetryLater):
        cause = error.cause if isinstance(error.cause, BaseException) else error
        delay_us = None if error.delay is None else microseconds(error.delay, "delay")
        return Failed(elapsed_us, describe(cause), "retry_later", True, delay_us, options, error.scope == "queue")
    if isinstance(error, Fatal):
        cause = error.__cause__ if error.__cause__ is not None and not str(error) else error
        return Failed(elapsed_us, describe(cause), "fatal", False, None, options)
    retryable = all(isinstance(leaf, on) for leaf in leaves(error))
    return Failed(elapsed_us, describe(error), "exception", retryable, None, options)

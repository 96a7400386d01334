"""Durable steps: what a handler has done of its task, so that its next run does not do it again.

Problem.  A task that charges a card and then sends a mail must not charge twice because the mail failed, and the process may die between
any two lines.  Choice: `ctx.step(name, function, *args)` looks in the task's state; a step that is done returns what was recorded,
another is run, and its value is on the disk before the handler has it (law 3).  The handler runs from the top again at every attempt, and
skips what is done.  Steps go by name, not by their order, so a handler may be changed while tasks of it are half done: what it does not
ask for any more is passed over.

What follows from that, each of it decided once, in docs/decisions/0017:

1. At least once while it runs, never again once it is done.  A step under way at a crash has no record and runs again.
2. One name, one step: a name that this attempt has asked for already is DuplicateStep.  To return the first one's value would skip,
   unseen, all but the first round of a loop; to count them up would make a step's identity the order of calls, which changes with the
   code. After its function raised a step may be asked for again.
3. What was recorded is what is returned, the first time too: decoded by the function's return annotation.  So a handler
   meets the same values in a run that goes well as in one that goes on after a crash.
4. Errors are not recorded: they are the handler's, and the step runs again at the next attempt.
5. A value that is there is recorded even when the attempt has just been told to end: the work is done, and not to be done again.
6. A plain `def` in an async handler runs in a thread, as a plain `def` handler does: it may block, and one that blocks the loop stops the
   engine.  Left behind by a time-out it holds the slot of its task until it ends (DECISIONS 16).
7. Whatever can be known to go wrong is found out before the function is run: the name, the annotation, the number of steps, the disk.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_origin

import trio

from journeyman.engine.annotation import storable
from journeyman.engine.errors import AttemptOver, DuplicateStep, EngineStopped, PayloadTooLarge, TooManySteps
from journeyman.engine.handler import Handler
from journeyman.engine.names import check_name
from journeyman.engine.payload import ResultCodec
from journeyman.engine.questions import refusal
from journeyman.engine.signature import resolved
from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt, JournalFull
from journeyman.kernel.bounds import STEPS_MAX
from journeyman.kernel.commands import Answer, RecordStep, Refused
from journeyman.kernel.stepping import too_many
from journeyman.kernel.steps import steps_of

if TYPE_CHECKING:
    from journeyman.actors.attempt import Attempt
    from journeyman.actors.call import Call

Function = Callable[..., Any]
_AWAITED: Final = (Awaitable, Coroutine)  # as typing.get_origin gives them


# The step whose function is running, seen from within it.
in_step: ContextVar[str | None] = ContextVar("journeyman_step", default=None)


def outside_of_steps(what: str) -> None:
    """RuntimeError within a step: what is recorded with an attempt's success is lost where a later attempt skips the step."""
    if (name := in_step.get()) is not None:
        raise RuntimeError(
            f"{what} inside step {name!r} would be lost when a later attempt skips the step: return what is needed, and call it outside"
        )


class Steps:
    """Those of one attempt.  `token`: of the loop that it runs on."""

    __slots__ = ("_asked", "_attempt", "_left", "_threads", "_token")

    def __init__(self, attempt: Attempt, token: trio.lowlevel.TrioToken) -> None:
        self._attempt = attempt
        self._token = token
        self._asked: set[str] = set()  # names of those under way or done in this attempt
        self._left: set[str] = set()  # of these, the ones whose thread was left behind and has not ended
        self._threads = 0  # plain functions of an async handler that run

    # --- in an async handler --------------------------------------------------------------------------------------------

    async def run(self, name: str, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """For who can await."""
        function, codec = _prepared(name, function)
        await trio.lowlevel.checkpoint()
        known = self._begin(name)
        if known is not None:
            return codec.decode(known) if known else None
        inside = in_step.set(name)
        try:
            if _is_async(function):
                value = await function(*args, **kwargs)
            else:
                value = await self._in_thread(name, partial(function, *args, **kwargs))
                if inspect.isawaitable(value):  # of a lambda, say
                    value = await value
            data = self._encoded(name, codec, value)
            answer = await self._record(name, data).wait_through()
        except BaseException:
            if name not in self._left:
                self._asked.discard(name)
            raise
        finally:
            in_step.reset(inside)
        return self._returned(name, codec, data, answer)

    async def _in_thread(self, name: str, work: Callable[[], Any]) -> Any:
        attempt = self._attempt
        actor = attempt.actor
        left_behind = actor.straggler(attempt)
        self._threads += 1
        attempt.straggling = True  # until it has ended, should it be left behind

        has_ended = False

        def abandoned() -> None:
            nonlocal has_ended
            has_ended = True
            self._left.discard(name)
            self._asked.discard(name)
            self._threads -= 1
            if not self._threads:
                left_behind()

        try:
            # In a list: trio takes a function that returns a coroutine for a mistake.
            [value] = await actor.shell.threads.run(lambda: [work()], abandoned)
        except trio.Cancelled:
            if not has_ended:
                self._left.add(name)
            raise
        except BaseException:
            self._ended()
            raise
        self._ended()
        return value

    def _ended(self) -> None:
        self._threads -= 1
        if not self._threads:
            self._attempt.straggling = False

    # --- in a def handler, or another thread ------------------------------------------------------------------------------

    def run_blocking(self, name: str, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """For who blocks a thread of its own meanwhile."""
        function, codec = _prepared(name, function)
        if _is_async(function):
            raise TypeError(_not_here(name))
        known = self._on_loop(partial(self._begin, name))
        if known is not None:
            return codec.decode(known) if known else None
        threads = self._attempt.actor.shell.threads
        inside = in_step.set(name)
        try:
            value = function(*args, **kwargs)
            if inspect.isawaitable(value):
                if inspect.iscoroutine(value):
                    value.close()
                raise TypeError(_not_here(name))
            data = self._encoded(name, codec, value)
            try:
                answer: Answer = threads.ask(self._attempt.actor, self._token, partial(self._record, name, data))
            except trio.RunFinishedError:
                raise _stopped() from None
        except BaseException:
            self._asked.discard(name)
            raise
        finally:
            in_step.reset(inside)
        return self._returned(name, codec, data, answer)

    def _on_loop(self, ask: Callable[[], bytes | None]) -> bytes | None:
        if self._attempt.actor.shell.threads.inside:
            return ask()
        try:
            return trio.from_thread.run_sync(ask, trio_token=self._token)
        except trio.RunFinishedError:
            raise _stopped() from None

    # --- on the loop --------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _begin(self, name: str) -> bytes | None:
        """What the step came to, encoded (b"" for None), if it is done; else None, and its name is taken."""
        attempt = self._attempt
        shell, id = attempt.actor.shell, attempt.task.id
        if shell.closed:
            raise _stopped()
        task = attempt.actor.state.running.get(id)
        if task is None or (task.epoch, task.attempt) != (attempt.epoch, attempt.number):
            raise AttemptOver(f"step {name!r} was not begun: attempt {attempt.number} of this task is over; let the handler end")
        if name in self._asked:
            raise DuplicateStep(
                f"this attempt has asked for a step {name!r} already; give each a name of its own, in a loop one with the round in it"
            )
        attempt.beat()
        done = steps_of(task.options)
        entry = done.get(name)
        if entry is not None:
            seq, size, stored_digest, codec = entry
            data = shell.journal.payload(seq, stored_digest) if size or codec else b""
            if data is None:
                raise JournalCorrupt(f"what step {name!r} came to (record {seq}) is not stored any more: restore a backup", seq)
            self._asked.add(name)
            return data
        if len(done.keys() | self._asked) >= STEPS_MAX:  # those under way count, or they would be refused once they have run
            raise TooManySteps(too_many(id))
        self._check_disk(name, 0, "was not begun")
        self._asked.add(name)
        return None

    @trio.lowlevel.enable_ki_protection
    def _record(self, name: str, data: bytes) -> Call[Answer]:
        attempt = self._attempt
        if attempt.actor.shell.closed:
            raise _stopped()
        self._check_disk(name, len(data), "has run, but could not be recorded")
        if attempt.current:
            attempt.beat()
        size = len(data)
        command = RecordStep(attempt.task.id, attempt.epoch, attempt.number, name, size, digest(data) if size else b"")
        return attempt.actor.ask(command, data)

    def _check_disk(self, name: str, size: int, said: str) -> None:
        """JournalFull where not even the reserve, which is for running tasks, has room."""
        room = self._attempt.actor.shell.room
        if room.short and not room.has_at_last(size):
            raise JournalFull(
                f"step {name!r} {said}: the disk of the journal is full, and the last of it is kept; prune ended tasks, or free some space"
            )

    # --- values -------------------------------------------------------------------------------------------------------------

    def _encoded(self, name: str, codec: ResultCodec, value: Any) -> bytes:
        if value is None:
            return b""
        data = codec.encode(value, f"step {name!r}")
        limit = self._attempt.actor.state.policy.max_payload
        if len(data) > limit:
            raise PayloadTooLarge(len(data), limit, f"the result of step {name!r}")
        return data

    def _returned(self, name: str, codec: ResultCodec, data: bytes, answer: Answer) -> Any:
        if type(answer) is Refused:
            self._asked.discard(name)
            if answer.error in ("TransitionRejected", "TaskNotFound"):
                raise AttemptOver(f"step {name!r} has run, but is not recorded: {answer.message}")
            raise refusal(answer)
        return codec.decode(data) if data else None


# --- functions ------------------------------------------------------------------------------------------------------------------


def _prepared(name: str, function: Any) -> tuple[Function, ResultCodec]:
    """The function to call, and the codec of what it returns.  Raises for whatever is wrong with either."""
    check_name(name, "step name")
    if isinstance(function, Handler):
        function = function.function
    if not callable(function):
        given = "the result of a call" if inspect.isawaitable(function) else type(function).__name__
        if inspect.iscoroutine(function):
            function.close()
        raise TypeError(f"step {name!r} takes a function and its arguments, ctx.step({name!r}, function, ...), not {given}")
    return function, _codec(_returns(name, function), name)


def _returns(name: str, function: Function) -> Any:
    """The annotation of what it returns, resolved; Any without one."""
    try:
        annotation = inspect.signature(function).return_annotation
    except (TypeError, ValueError):  # a builtin that does not say
        return Any
    if annotation is inspect.Signature.empty:
        return Any
    try:
        kind = resolved(annotation, _inner(function), {})
    except NameError as error:
        raise NameError(
            f"step {name!r}: the type of its result cannot be resolved, {error}; define it at the top level of its module, "
            "or leave the annotation out"
        ) from None
    if get_origin(kind) in _AWAITED:  # of a plain function that returns what an async one does
        kind = get_args(kind)[-1]
    return Any if isinstance(kind, TypeVar) else kind


def _codec(kind: Any, name: str) -> ResultCodec:
    try:
        return _codec_of(kind)
    except TypeError as error:
        if "unhashable" in str(error):  # an annotation with a list inside
            return ResultCodec(storable(kind, f"step {name!r}, its result"))
        raise TypeError(f"step {name!r}, {error}") from None


@lru_cache(maxsize=256)
def _codec_of(kind: Any) -> ResultCodec:
    return ResultCodec(storable(kind, "its result"))


def _inner(function: Function) -> Function:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_async(function: Function) -> bool:
    inner = _inner(function)
    called = inner if inspect.isroutine(inner) else type(inner).__call__
    return inspect.iscoroutinefunction(called)


def _not_here(name: str) -> str:
    return f"step {name!r} is async, and only an async handler can wait for it; give it a plain function, or make the handler async"


def _stopped() -> EngineStopped:
    return EngineStopped("the engine is closed, so no step is begun or recorded; those that are done stay so at the next start")


__all__ = ["Steps", "in_step", "outside_of_steps"]

"""What a handler may ask of the engine while it runs.

`progress` and `heartbeat` are plain calls, safe from a worker thread, that return an inert awaitable: `await ctx.progress(0.5)`
in an async handler and a bare `ctx.progress(0.5)` in a `def` handler both work (DECISIONS 35).
"""

from __future__ import annotations

import contextlib
import random as _random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, overload

import trio

from journeyman.actors.attempt import Attempt
from journeyman.engine.steps import Steps, outside_of_steps
from journeyman.journal.instants import instant_of
from journeyman.kernel.bounds import PPM
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import local_name

if TYPE_CHECKING:
    from journeyman.engine.engine import Door
    from journeyman.engine.handle import Handle
    from journeyman.engine.spec import Submittable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Inert:
    """Awaiting it does nothing and yields to nobody."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_INERT = Inert()


class Context:
    """One attempt, as its handler sees it."""

    __slots__ = ("_attempt", "_engine", "_random", "_steps", "_token")
    steps_kind: ClassVar[type[Steps]] = Steps

    def __init__(self, engine: Door, attempt: Attempt) -> None:
        self._engine = engine
        self._attempt = attempt
        self._token = trio.lowlevel.current_trio_token()
        self._random: _random.Random | None = None
        self._steps: Steps | None = None

    @property
    def id(self) -> str:
        """The task's id."""
        return id_text(self._attempt.task.id)

    @property
    def queue(self) -> str:
        """Its queue's name, as its namespace calls it."""
        return local_name(self._attempt.actor.name)

    @property
    def attempt(self) -> int:
        """The ordinal of this run, from 1; it counts every run, also those that were lost or snoozed."""
        return self._attempt.number

    @property
    def max_attempts(self) -> int:
        """How many failed runs the task may have in all."""
        return self._attempt.task.budget(self._attempt.actor.state.policy.attempts)

    @property
    def deadline(self) -> datetime | None:
        """When this attempt's time-out strikes, aware; None without one."""
        left = self._attempt.time_left_us()
        return None if left is None else self.now() + timedelta(microseconds=left)

    @property
    def cancelled(self) -> bool:
        """Whether this attempt should end: for `def` handlers, which nobody can interrupt.

        Having seen it, clean up and return None: the task ends cancelled.
        """
        if self._attempt.over():
            self._attempt.saw_cancel = True
            return True
        return False

    @property
    def engine(self) -> Door:
        """The engine, or the namespace the task belongs to, for what should happen whether or not this attempt succeeds."""
        return self._engine

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this task: hand it to services that promise to act once per key."""
        return id_text(self._attempt.task.id)

    @property
    def random(self) -> _random.Random:
        """Randomness of this attempt's own: the same attempt draws the same numbers, in simulation too."""
        if self._random is None:
            self._random = _random.Random(self._attempt.task.id + self._attempt.number.to_bytes(8, "big"))
        return self._random

    def now(self) -> datetime:
        """Kernel time, aware, UTC."""
        return instant_of(self._attempt.actor.shell.now())

    def progress(self, fraction: float | None = None, message: str | None = None) -> Inert:
        """Say how far this attempt is: `fraction` from 0 to 1, and a text.  Visible at once; recorded at most once a second,
        and at the end.  ValueError for a fraction beyond, TypeError for what is none, or no text.
        """
        try:
            if fraction is not None and not 0 <= fraction <= 1:
                raise ValueError(f"a progress fraction is from 0 to 1, not {fraction!r}")
        except TypeError:
            raise TypeError(f"a progress fraction is a number from 0 to 1, not {fraction!r}") from None
        ppm = None if fraction is None else round(fraction * PPM)
        if message is not None and not isinstance(message, str):
            raise TypeError(f"a progress message is a str, not {type(message).__name__}")
        self._on_loop(lambda: self._attempt.report(ppm, message))
        return _INERT

    def heartbeat(self) -> Inert:
        """Say that this attempt lives (see `Queue(heartbeat=)`).  `progress` says so too."""
        self._on_loop(lambda: self._attempt.beat())
        return _INERT

    @overload
    def submit(self, handler: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    @overload
    def submit(self, handler: str, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    def submit(self, handler: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Submit a task that exists only if this attempt succeeds: both are recorded in one commit, or neither.

        Its handle cannot be waited for in here; for a task that should exist at once use `ctx.engine.submit`.
        Raises what `Engine.submit` raises, QueueFull included, at the call.  An `id=` whose task has expired but is not deleted yet is
        refused with DuplicateTask: the decision is made here and now, and the deletion, which this begins, takes a moment.
        """
        outside_of_steps("ctx.submit")
        handle: Handle[Any] = self._in_loop(lambda: self._engine.submit_from(self._attempt, handler, args, kwargs))
        return handle

    def put(self, key: bytes, value: bytes) -> Inert:
        """Let a key of the application have this value if this attempt succeeds: both are recorded in one commit, or neither.

        TypeError or ValueError for what cannot be a key (1 to 256 bytes) or a value, PayloadTooLarge for more than 1 MiB, JournalFull;
        RuntimeError once the attempt is over.
        """
        outside_of_steps("ctx.put")
        self._in_loop(lambda: self._engine.put_from(self._attempt, key, value))
        return _INERT

    def delete(self, key: bytes) -> Inert:
        """As `put`: let a key have no value if this attempt succeeds."""
        outside_of_steps("ctx.delete")
        self._in_loop(lambda: self._engine.changes_of(self._attempt).delete(key))
        return _INERT

    def get(self, key: bytes) -> bytes | None:
        """The value of a key: what this attempt has put, else what is durable; None if there is none.

        If somebody else changes it before this attempt succeeds, and the attempt has put or submitted anything, then it fails with
        TransactionConflict, as if the handler had raised that.  Errors as for `put`.
        """
        outside_of_steps("ctx.get")
        return self._in_loop(lambda: self._engine.changes_of(self._attempt).get(key))

    @overload
    def step(self, name: str, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]: ...
    @overload
    def step(self, name: str, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run `function(*args, **kwargs)` once for this task: `await ctx.step("charge", charge, card, 100)`.  In a `def` handler, and in
        a thread of your own, it is a plain call that returns the value.

        What it returns is durable before you have it.  In every later attempt the same name returns that value, and the function is not
        run; a step that raised, or was under way when the process died, is run again.  In an async handler a plain function runs in a
        thread. The value comes back as the function's return annotation says, in the first attempt too.

        DuplicateStep: this attempt has asked for that name.  TooManySteps, JournalFull, AttemptOver, EngineStopped: it was not begun (or,
        the last three, not recorded).  TypeError, NameError, InvalidName: it cannot be a step.  InvalidPayload, PayloadTooLarge: what it
        returned cannot be stored, so it will run again.
        """
        if self._steps is None:
            self._steps = self.steps_kind(self._attempt, self._token)
        if _in_trio() and not self._attempt.actor.shell.threads.inside:
            return self._steps.run(name, function, args, kwargs)
        return self._steps.run_blocking(name, function, args, kwargs)

    # --- from whatever thread ---------------------------------------------------------------------------------------------

    def _on_loop(self, run: Callable[[], None]) -> None:
        if _in_trio():
            run()
        else:
            with contextlib.suppress(trio.RunFinishedError):  # the engine is gone; what a left-over thread says is not heard
                self._token.run_sync_soon(run)

    def _in_loop(self, run: Callable[[], T]) -> T:
        if _in_trio():
            return run()
        return trio.from_thread.run_sync(run, trio_token=self._token)


def _in_trio() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True

"""The context of a handler that runs in a process of its own: what can travel.

Problem.  The engine, its journal and its tasks are in another process.  Choice: what an attempt is (its id, its number, its deadline) goes
along as values; what the handler says (progress, signs of life) goes back; and what would have to ask the engine is refused
with words about what to do instead.  Rejected: calls back into the engine (each a round trip that can hang, in a process that may be
killed at any instant; whoever needs the engine has handlers in threads).
"""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from journeyman.actors.apart import Say
from journeyman.actors.attempt import Attempt
from journeyman.engine.context import Context
from journeyman.journal.instants import instant_of

if TYPE_CHECKING:
    from journeyman.engine.engine import Door


@dataclass(frozen=True, slots=True)
class Facts:
    """What an attempt is.  deadline: aware, by kernel time.  ahead: seconds by which kernel time is ahead of the wall clock."""

    id: str
    queue: str
    attempt: int
    max_attempts: int
    deadline: datetime | None
    seed: bytes
    ahead: float


class _Voice:
    """What stands for the attempt: it can be told of progress, and asked for nothing."""

    def __init__(self, say: Say | None) -> None:
        self._say = say

    def report(self, fraction_ppm: int | None, message: str | None) -> None:
        if self._say is not None:
            self._say(fraction_ppm, message)

    def beat(self) -> None:
        if self._say is not None:
            self._say(None, None)

    def __getattr__(self, name: str) -> NoReturn:
        refuse()


def refuse() -> NoReturn:
    raise RuntimeError(
        'a handler with run_in="process" has no engine at hand: return what is needed for the rest, and let a handler in a thread or '
        "on the loop go on with it (using(after=...))"
    )


class PortableContext(Context):
    """As `Context`, for `run_in="process"`: without `submit`, `engine` and whatever else needs the engine (RuntimeError).  `cancelled` is
    False: who is cancelled is killed."""

    __slots__ = ("_clock", "_facts", "_say")

    def __init__(self, facts: Facts, clock: Callable[[], int] | None = None) -> None:
        """clock: kernel time, microseconds, where there is no other process."""
        self._facts = facts
        self._clock = clock
        self._random = None
        self._say: Say | None = None

    @classmethod
    def of(cls, engine: Door, attempt: Attempt) -> PortableContext:
        there = Context(engine, attempt)
        shell = attempt.actor.shell
        left = attempt.timeout_us
        deadline = None if left is None else there.now() + timedelta(microseconds=left)
        seed = attempt.task.id + attempt.number.to_bytes(8, "big")
        ahead = (shell.clock.now() - shell.clock.wall()) / 1_000_000
        return cls(Facts(there.id, there.queue, there.attempt, there.max_attempts, deadline, seed, ahead), shell.now)

    def __reduce__(self) -> tuple[type[PortableContext], tuple[Facts]]:
        return PortableContext, (self._facts,)

    def speak(self, say: Say) -> None:
        self._say = say

    @property
    def id(self) -> str:
        return self._facts.id

    @property
    def queue(self) -> str:
        return self._facts.queue

    @property
    def attempt(self) -> int:
        return self._facts.attempt

    @property
    def max_attempts(self) -> int:
        return self._facts.max_attempts

    @property
    def deadline(self) -> datetime | None:
        return self._facts.deadline

    @property
    def cancelled(self) -> bool:
        return False

    @property
    def engine(self) -> NoReturn:
        refuse()

    @property
    def idempotency_key(self) -> str:
        return self._facts.id

    @property
    def random(self) -> _random.Random:
        if self._random is None:
            self._random = _random.Random(self._facts.seed)
        return self._random

    def now(self) -> datetime:
        if self._clock is not None:
            return instant_of(self._clock())
        return datetime.fromtimestamp(time.time() + self._facts.ahead, UTC)

    # --- what Context is made of ------------------------------------------------------------------------------------------

    @property
    def _attempt(self) -> Any:  # type: ignore[override]
        return _Voice(self._say)

    @property
    def _engine(self) -> NoReturn:  # type: ignore[override]
        refuse()

    @property
    def _steps(self) -> NoReturn:  # type: ignore[override]
        refuse()

    @property
    def _token(self) -> NoReturn:  # type: ignore[override]
        refuse()

    def _on_loop(self, run: Callable[[], None]) -> None:
        run()

    def _in_loop(self, run: Callable[[], Any]) -> NoReturn:
        refuse()


def context_of(engine: Door, attempt: Attempt, kind: type[Context] = Context) -> Context:
    """The context of an attempt, wherever its handler runs.  `kind`: of one in this process."""
    return PortableContext.of(engine, attempt) if attempt.handler.apart else kind(engine, attempt)


__all__ = ["PortableContext", "context_of"]

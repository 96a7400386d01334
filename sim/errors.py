"""What a simulation raises."""

from __future__ import annotations

from journeyman.engine import JourneymanError


class EngineCrashed(JourneymanError):
    """The simulated process died while this call was under way, or is down.  Whether the call had its effect is unknown, as for
    any client of a process that dies; with `id=` it can be made again safely.
    """


class HandlerTrouble(Exception):
    """Raised in place of a handler's work, by `Faults(handler_error=...)`."""


class PromiseBroken(AssertionError):
    """The engine did what it promises never to do.  `promise` names the invariant, `details` says what was seen."""

    def __init__(self, promise: str, details: str) -> None:
        super().__init__(f"{promise}: {details}")
        self.promise = promise
        self.details = details


class Deadlock(AssertionError):
    """Nothing can happen any more in this world, and the scenario still waits."""


class OutOfTime(AssertionError):
    """The world did not come to rest within its limit of steps or of boots, or its virtual time stood still."""

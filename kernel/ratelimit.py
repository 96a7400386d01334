"""The rate limiter: one integer, folded from starts (GCRA, the virtual-scheduling form of the token bucket).

Problem.  A limiter that counts in memory gives a free burst after every restart; one that remembers past starts needs old
events for ever.  Choice: the theoretical arrival time (`tat`, an instant in microseconds).  With interval T and tolerance
(burst - 1) * T, a start at `now` conforms iff tat - tolerance <= now, and makes tat = max(tat, now) + cost * T.  Every start
journals its tat, so the last start says everything.

Promise: starts in any window of w microseconds <= burst + limit * w / per.  T is per / limit rounded *up* to a whole
microsecond, so rounding can only slow (by under T's last microsecond), never break the promise.
Rejected: a token count with a refill instant (two numbers, and fractions of tokens that must be rounded somewhere).
"""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.kernel.bounds import BURST_MAX, INSTANT_MAX_US, NAME_MAX_BYTES, RATE_LIMIT_MAX
from journeyman.kernel.duration import Seconds, microseconds


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` starts per `per` seconds, evenly spaced, with bursts of up to `burst`.

    `name`: queues that give the same name share one limiter; all of them give it the same numbers.  A task may count for more than one
    start: `using(cost=n)`.
    """

    limit: int
    per: Seconds = 1.0
    burst: int = 1
    name: str | None = None

    def __post_init__(self) -> None:
        self.compiled()

    def compiled(self) -> tuple[int, int, int]:
        """(limit, per in microseconds, burst); ValueError if a number is out of range."""
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or not 1 <= self.limit <= RATE_LIMIT_MAX:
            raise ValueError(f"rate limit must be a whole number from 1 to {RATE_LIMIT_MAX}, not {self.limit!r}; if slow, raise `per`")
        if isinstance(self.burst, bool) or not isinstance(self.burst, int) or not 1 <= self.burst <= BURST_MAX:
            raise ValueError(f"burst must be a whole number from 1 to {BURST_MAX}, not {self.burst!r}")
        name: object = self.name
        if name is not None and (not isinstance(name, str) or not 1 <= len(name.encode("utf-8", "replace")) <= NAME_MAX_BYTES):
            raise ValueError(f"the name of a rate must be a str of 1 to {NAME_MAX_BYTES} bytes, not {name!r}")
        return (self.limit, microseconds(self.per, "rate per", least=1), self.burst)


def interval_us(rate: tuple[int, int, int]) -> int:
    """Microseconds between starts at the steady rate."""
    return -(-rate[1] // rate[0])


def allowed_at(rate: tuple[int, int, int], tat_at: int, cost: int = 1) -> int:
    """The first instant at which a start of `cost` conforms."""
    burst = rate[2]
    return tat_at - (burst - min(cost, burst)) * interval_us(rate)


def conforming(rate: tuple[int, int, int], tat_at: int, now: int) -> int:
    """How many starts at this very instant the limiter allows."""
    spare = now - allowed_at(rate, max(tat_at, now))
    return spare // interval_us(rate) + 1 if spare >= 0 else 0


def after_start(rate: tuple[int, int, int], tat_at: int, now: int, cost: int = 1) -> int:
    """The theoretical arrival time once a start of `cost` has happened at `now`.

    A million tokens of a year each lie beyond what a record can hold; whoever waits for the year 75,000 waits for ever either way.
    """
    return min(max(tat_at, now) + cost * interval_us(rate), INSTANT_MAX_US)


__all__ = ["Rate", "after_start", "allowed_at", "conforming", "interval_us"]

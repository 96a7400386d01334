"""How busy each queue was in the last minute, and how long its runs took and its tasks waited: for `journeyman top`.

Problem.  A screen that is drawn every second wants rates and percentiles of a journal that may write thirty thousand events a second
and have thousands of queues.  Choice: whoever looks is fed each event once.  Rates are counts by second, of which a minute is kept;
percentiles are those of the newest few hundred values, exactly.  A queue costs nothing until something happens in it.

Rejected: decaying averages (an operator cannot say what "3.7" was counted from); percentile sketches (a dependency, and an error that
must be explained, where a few hundred values tell the same).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from journeyman.kernel.bounds import SECOND_US
from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    Event,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskSubmitted,
    TaskSucceeded,
)

MINUTE: Final = 60  # seconds of which rates are told
KEPT: Final = 512  # values of which percentiles are told

_TIMED: Final = (TaskSucceeded, AttemptFailed, TaskFailed, AttemptSnoozed, AttemptReleased)
_ENDS: Final = (TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted)
_FAILURES: Final = (AttemptFailed, AttemptLost, TaskFailed)
_COUNTED: Final = frozenset({TaskSubmitted, AttemptStarted, AttemptLost, *_TIMED, *_ENDS})


class Rates(NamedTuple):
    """What happened in the last minute."""

    submits: int = 0
    starts: int = 0
    ends: int = 0
    failures: int = 0  # runs that failed or were lost, the last one of a task included


class Spread(NamedTuple):
    """Of the newest values, in microseconds; None if there are none."""

    p50: int | None = None
    p99: int | None = None


def spread(values: Iterable[int]) -> Spread:
    """The median and the 99th percentile (nearest rank)."""
    ranked = sorted(values)
    if not ranked:
        return Spread()
    last = len(ranked) - 1
    return Spread(ranked[last // 2], ranked[-(-last * 99 // 100)])


class Pace:
    """How often things of a few kinds happened, by second, over a minute."""

    __slots__ = ("_kinds", "_seconds")

    def __init__(self, kinds: int) -> None:
        self._kinds = kinds
        self._seconds: deque[tuple[int, list[int]]] = deque()  # (second, counts), oldest first

    def at(self, instant: int) -> list[int]:
        """The counts of the second in which `instant` lies, to be added to.  Instants do not fall, but for a stepped clock."""
        second = instant // SECOND_US
        seconds = self._seconds
        if not seconds or seconds[-1][0] != second:
            seconds.append((second, [0] * self._kinds))
            while seconds[0][0] <= second - MINUTE:
                seconds.popleft()
        return seconds[-1][1]

    def minute(self, now: int) -> list[int]:
        """The sums over the minute before `now`."""
        oldest = now // SECOND_US - MINUTE
        rows = [counts for second, counts in self._seconds if second > oldest]
        return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * self._kinds


@dataclass(slots=True)
class Activity:
    """Of one queue."""

    pace: Pace = field(default_factory=lambda: Pace(len(Rates._fields)))
    durations: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))
    waits: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, event: Event) -> None:
        """One more event of this queue."""
        kind = type(event)
        if kind not in _COUNTED:
            return
        counts = self.pace.at(event.at)
        if kind is TaskSubmitted:
            counts[0] += 1
        elif isinstance(event, AttemptStarted):
            counts[1] += 1
            self.waits.append(max(0, event.at - event.eligible_at))
        else:
            counts[2] += kind in _ENDS
            counts[3] += kind in _FAILURES
            if isinstance(event, _TIMED):
                self.durations.append(event.elapsed_us)

    def rates(self, now: int) -> Rates:
        """Of the minute before `now`."""
        return Rates(*self.pace.minute(now))


__all__ = ["KEPT", "MINUTE", "Activity", "Pace", "Rates", "Spread", "spread"]

"""A task's events as they would be dated if nobody had set the clock meanwhile.

    Steady(steps)               made of the ClockStepped events after the submission
    .event(seq, event)          the event with its instants on that clock, all but those that somebody named by the calendar
    .reached(since, instant)    when that clock showed, for the first time after `since`, what the journal calls `instant`

Problem.  Kernel time jumps where the wall clock was set or the machine slept (ClockStepped); a difference between two recorded instants is
then no duration any more, and may be negative.  Choice: a clock that stands where kernel time stood at the submission and never jumps; on
it differences are what passed.  What was named by the calendar (`at=`, `Snooze(until=)`, a deadline) stays as it was recorded: it means
what the wall clock shows, whoever sets it.

Rejected: to leave out whatever lies before the last step (the interesting failures are those around it).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

from journeyman.kernel.events import DUE_BY_DURATION, ClockStepped, Event


class ClockStep(NamedTuple):
    """A jump of kernel time by `delta_us`, when the steady clock stood at `at`."""

    at: int
    delta_us: int


class Steady:
    """A clock that shows kernel time as of the submission, and what has passed since."""

    def __init__(self, steps: Sequence[tuple[int, ClockStepped]] = ()) -> None:
        self.steps: list[ClockStep] = []
        self._seqs = [seq for seq, _ in steps]
        self._ahead = [0]  # of kernel time, after so many steps
        for _, step in steps:
            ahead = self._ahead[-1] + step.delta_us
            self._ahead.append(ahead)
            self.steps.append(ClockStep(step.at - ahead, step.delta_us))

    def event(self, seq: int, event: Event) -> Event:
        """That event, dated by this clock."""
        ahead = self.ahead(seq)
        if not ahead:
            return event
        named = getattr(event, "due_kind", DUE_BY_DURATION) != DUE_BY_DURATION
        fields = ("at", "eligible_at") if named else ("at", "eligible_at", "due_at")
        moved: dict[str, Any] = {name: getattr(event, name) - ahead for name in fields if name in event._fields}
        return event._replace(**moved)

    def ahead(self, seq: int) -> int:
        """By how much kernel time was ahead of this clock at event `seq`, in microseconds."""
        return self._ahead[bisect_left(self._seqs, seq)]

    def reached(self, since: int, instant: int) -> int:
        """When kernel time came to `instant`, or jumped over it; `since`, if it had come there by then."""
        ahead = 0
        for step in self.steps:
            if step.at > since and instant - ahead <= step.at:
                break
            ahead += step.delta_us
            if step.at > since and instant - ahead <= step.at:
                return step.at
        return max(since, instant - ahead)


__all__ = ["ClockStep", "Steady"]

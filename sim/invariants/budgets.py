"""What a run costs: the two budgets, who is charged for a crash, and how long the pauses are."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any, Final

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work

_PPM: Final = 1_000_000


class FailuresWithinAttempts(Invariant):
    """A failed run spends one of `attempts`, nothing else does; when they are spent the task fails for good, and not before."""

    name = "failures within attempts"

    def _budget(self, event: Any, work: Work) -> int:
        own = work.options.get("attempts")
        return int(own if own is not None else self.oracle.lane(event.queue).limit("attempts", 1))

    def failed(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        if event.failures != work.failures + 1:
            self.broken(f"{work} had {work.failures} failures, and {event.failures} after the one at seq {seq}")
        elif event.failures >= self._budget(event, work):
            self.broken(f"{work} is to run again after {event.failures} of {self._budget(event, work)} failures, seq {seq}")

    def dead(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        if event.failures != work.failures + (event.reason != "crashes"):
            self.broken(f"{work} had {work.failures} failures, and {event.failures} when it failed for good at seq {seq}")
        elif event.reason == "attempts" and event.failures < self._budget(event, work):
            self.broken(f"{work} failed for good after {event.failures} of {self._budget(event, work)} attempts, seq {seq}")


class CrashesWithinBudget(Invariant):
    """A crash is charged once to each run whose handler was inside when the process died, and to no other; a graceful stop never."""

    name = "crashes are charged fairly"

    def lost(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        inside = work.start_seq in self.witness.marks
        if event.entered is not inside:
            self.broken(
                f"{work} is {'' if event.entered else 'not '}charged for the crash, its handler was {'' if inside else 'not '}inside"
            )
        elif event.crashes != work.crashes + inside:
            self.broken(f"{work} had {work.crashes} crashes, and {event.crashes} after the one at seq {seq}")
        elif inside and event.crashes > self.oracle.lane(event.queue).limit("crashes", 3):
            self.broken(f"{work} is to run again after {event.crashes} crashes, seq {seq}")

    def dead(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        if event.reason != "crashes":
            if event.crashes != work.crashes:
                self.broken(f"{work} had {work.crashes} crashes, and {event.crashes} at its end, seq {seq}")
            if event.error is not None and event.error[0] == "Cancelled":
                self.broken(f"{work} was charged for being told to stop, seq {seq}")
        elif event.crashes != work.crashes + 1 or event.crashes <= self.oracle.lane(event.queue).limit("crashes", 3):
            self.broken(f"{work} with {work.crashes} crashes failed for good at seq {seq} by crash {event.crashes}")
        elif work.start_seq not in self.witness.marks:
            self.broken(f"{work} failed by a crash, and its handler was not inside")

    def failed(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and event.error[0] == "Cancelled":
            self.broken(f"{work} was charged for being told to stop, seq {seq}")


class InterruptedStaysSo(Invariant):
    """With on_crash="interrupt" a run that a crash cut off is never followed by another; elsewhere nothing is interrupted."""

    name = "on_crash is kept"

    def lost(self, seq: int, event: Any, work: Work | None) -> None:
        if self.oracle.lane(event.queue).policy.get("on_crash") == "interrupt":
            self.broken(f"{work} is to run again at seq {seq}, in a queue with on_crash='interrupt'")

    def interrupted(self, seq: int, event: Any, work: Work | None) -> None:
        if self.oracle.lane(event.queue).policy.get("on_crash") != "interrupt":
            self.broken(f"{work} is interrupted at seq {seq}, in a queue with on_crash='retry'")


class BackoffWithinBounds(Invariant):
    """The pause after the n-th failure is the policy's, capped, and within its jitter; a handler's own RetryLater comes first."""

    name = "backoff within its bounds"

    def failed(self, seq: int, event: Any, work: Work | None) -> None:
        policy = self.oracle.lane(event.queue).policy
        shape = policy.get("backoff")
        if not shape or shape[0] == "callable" or (event.options or {}).get("cause") == "retry_later":
            return
        pause, whole = event.due_at - event.at, _pause(shape, event.failures)
        spread = whole * policy.get("jitter_ppm", 0) // _PPM + 1
        if not whole - spread <= pause <= whole + spread:
            self.broken(f"{work} waits {pause} us after failure {event.failures}, not {whole} within {spread}, seq {seq}")


def _pause(shape: Any, n: int) -> int:
    if shape[0] == "constant":
        return int(shape[1])
    if shape[0] == "linear":
        return min(int(shape[1]) * n, int(shape[2]))
    base, num, den, cap = (int(number) for number in shape[1:5])
    pause = Fraction(base)
    for _ in range(n - 1):
        pause *= Fraction(num, den)
        if pause >= cap:
            return cap
    return min(ceil(pause), cap)

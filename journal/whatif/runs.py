"""What a run comes to when a recording is played: the recorded one, where there is one, else one drawn from those of the same handler.

The n-th run of a task that is played ends as the n-th that was recorded ended.  A recorded run that was cut (a crash, a stop, a cancel)
tells only how long it lasted at least; so the run that comes in its place ends as the next one that was not cut, and takes no less than
that. Where the recording has no more, an ending of the same handler is drawn, by a hash of the task's id and the attempt: the same in
every variant and at every repetition.  Such runs are counted, for they are guesses.

Another time-out makes failures of runs that took longer.  One that the old time-out had ended would have gone on: an ending of the
handler that took longer is drawn for it, if there is one.  If none is known, it fails as it did: nobody can say how long it would have
gone on, and `hidden` counts how often that was so.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from journeyman.journal.whatif.recording import NONE, Kind, Recording
from journeyman.kernel.commands import Failed, Outcome, Snoozed, Stopped, Succeeded
from journeyman.kernel.events import Error

_TRIES: Final = 8  # to draw one that is long enough
_ERROR: Final[Error] = ("Recorded", "as recorded", "", [])


class Run(NamedTuple):
    """One that is under way.  `ending`: where its end is told; `head`: the first recorded run that it stands for, NONE for none."""

    ending: int
    head: int
    drawn: bool
    handler_us: int
    slot_us: int
    timed_out: bool


class Runs:
    """Of one play: how far into its recorded runs each task is."""

    def __init__(self, recording: Recording, new_timeout: bool) -> None:
        self._recording = recording
        self._next = array("i", recording.first)
        self._new_timeout = new_timeout  # whether the time-out is another than the recorded one
        self._any: list[int] = [number for _, pool in sorted(recording.pool.items()) for number in pool[:1_000]]
        self.drawn = 0
        self.hidden = 0  # runs whose own end the recorded time-out hides

    def begin(self, task: int, attempt: int, timeout_us: int | None) -> Run:
        """What the next run of `task` will come to."""
        recording = self._recording
        head = ending = self._next[task]
        least = 0
        while ending != NONE and recording.kind[ending] == Kind.CUT:
            least = max(least, recording.slot_us[ending])
            ending = recording.next[ending]
        drawn = ending == NONE
        if drawn:
            ending = self._draw(task, attempt, lambda other: recording.slot_us[other] >= least)
        elif self._new_timeout and self._was_timed_out(task, ending) and (timeout_us is None or timeout_us > recording.handler_us[ending]):
            longer = self._draw(task, attempt, lambda other: self._goes_on(ending, other))
            if self._goes_on(ending, longer):
                drawn, ending = True, longer
            else:
                self.hidden += 1
        self.drawn += drawn
        slot, handler = recording.slot_us[ending], recording.handler_us[ending]
        if slot < least:
            handler, slot = handler + least - slot, least
        if self._new_timeout and timeout_us is not None and handler > timeout_us and self._has_no_own_timeout(task):
            return Run(ending, head, drawn, timeout_us, slot - handler + timeout_us, True)
        return Run(ending, head, drawn, handler, slot, False)

    def ended(self, task: int, run: Run) -> None:
        """It came to its end: the next one is another."""
        ending = run.head
        while ending != NONE and self._recording.kind[ending] == Kind.CUT:
            ending = self._recording.next[ending]
        self._next[task] = NONE if ending == NONE else self._recording.next[ending]

    def cut(self, task: int) -> None:
        """It was cut: the next one stands for the same recorded run, but for the cut itself, if that was recorded too."""
        head = self._next[task]
        if head != NONE and self._recording.kind[head] == Kind.CUT:
            self._next[task] = self._recording.next[head]

    def outcome(self, run: Run, callable_backoff: bool) -> Outcome:
        """What its executor would have said."""
        recording, elapsed = self._recording, run.handler_us
        if run.timed_out:
            return Failed(elapsed, _ERROR, "timeout")
        kind = recording.kind[run.ending]
        detail: Any = recording.detail.get(run.ending) or {}
        if kind == Kind.SUCCESS:
            return Succeeded(elapsed)
        if kind == Kind.SNOOZE:
            return Snoozed(elapsed, detail["delay_us"], None if run.drawn else detail.get("until_at"))
        if kind == Kind.CANCEL:
            return Stopped(elapsed, detail["reason"], detail["by"])
        cause = detail.get("cause", "exception")
        own = cause == "retry_later" or callable_backoff or detail.get("parks")
        delay = detail.get("delay_us") if own else None
        return Failed(elapsed, _ERROR, cause, detail.get("retryable", True), delay, None, bool(detail.get("parks")))

    def _goes_on(self, ending: int, other: int) -> bool:
        """Whether `other` took longer than one that was timed out, and came to its own end."""
        recording = self._recording
        timed_out = (recording.detail.get(other) or {}).get("cause") == "timeout"
        return not timed_out and recording.handler_us[other] > recording.handler_us[ending]

    def _draw(self, task: int, attempt: int, fits: Callable[[int], bool]) -> int:
        """An ending of the same handler, one that fits if it can be found in a few tries."""
        recording = self._recording
        pool = recording.pool.get(recording.handler[task]) or self._any
        chance = int.from_bytes(blake2b(b"%b run %d" % (recording.id(task), attempt), digest_size=8 * _TRIES).digest(), "big")
        first = NONE
        for _ in range(_TRIES):
            chance, number = divmod(chance, 1 << 64)
            found = pool[number % len(pool)]
            if fits(found):
                return found
            first = found if first == NONE else first
        return first

    def _was_timed_out(self, task: int, ending: int) -> bool:
        detail = self._recording.detail.get(ending)
        return detail is not None and detail.get("cause") == "timeout" and self._has_no_own_timeout(task)

    def _has_no_own_timeout(self, task: int) -> bool:
        options = self._recording.options.get(task)
        return options is None or "timeout_us" not in options


__all__ = ["Run", "Runs"]

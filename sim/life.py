"""The life of one task, read back from its history, with assertions that read like sentences.

    life = await world.history(handle)
    life.assert_ran(3, apart=30, tolerance=0.1).then_dead_lettered()

It is made of `Engine.history`, so it works on a real engine too: `await life_of(engine, handle)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from journeyman.engine import Engine, Handle, State, Task
from journeyman.journal.history import HistoryEvent

# How an event ends the run it belongs to.
_ENDINGS: Final = {
    "AttemptFailed": "failed", "AttemptLost": "lost", "AttemptReleased": "released", "AttemptSnoozed": "snoozed",
    "TaskSucceeded": "succeeded", "TaskFailed": "failed", "TaskCancelled": "cancelled", "TaskInterrupted": "interrupted",
}  # fmt: skip
_ENDED: Final = {
    "TaskSucceeded": State.SUCCEEDED, "TaskFailed": State.FAILED, "TaskCancelled": State.CANCELLED, "TaskInterrupted": State.INTERRUPTED,
}  # fmt: skip
SLACK: Final = timedelta(milliseconds=1)  # an engine starts a task at the next instant, not at the same one


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt.

    outcome: "running", "succeeded", "failed", "lost" (the process died), "released" (a graceful stop), "snoozed", "cancelled" or
    "interrupted".  ended_at: None while it runs; of a run that was lost: when that was found out.  error: its type and message.
    """

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    error: str | None


class Life:
    """attempts: every run, as `ctx.attempt` counts them.  state: how the task ended, None if it has not.  events: all of them."""

    def __init__(self, events: Sequence[HistoryEvent]) -> None:
        if not events:
            raise ValueError("a task without any event has no life")
        self.events = list(events)
        self.attempts = _runs(self.events)
        self.state: State | None = None
        for event in self.events:
            if event.kind == "TaskRetried":
                self.state = None
            self.state = _ENDED.get(event.kind, self.state)

    @property
    def starts(self) -> list[datetime]:
        """When each run began."""
        return [run.started_at for run in self.attempts]

    @property
    def gaps(self) -> list[float]:
        """Seconds from the end of each run to the start of the next: the pauses that a backoff makes."""
        pairs = zip(self.attempts, self.attempts[1:], strict=False)
        return [(later.started_at - (run.ended_at or later.started_at)).total_seconds() for run, later in pairs]

    def assert_ran(self, times: int, *, apart: float | Sequence[float] | None = None, tolerance: float = 0.1) -> Self:
        """So many runs; with `apart`, so many seconds from the end of one to the start of the next, each within a share of `tolerance`
        (from 0 to 1; a tenth, like the default jitter) and a millisecond.  A sequence says each pause.
        """
        if not 0 <= tolerance <= 1:
            raise ValueError(f"tolerance is a share from 0 to 1, where 0.1 is 10 %, not {tolerance!r}")
        if len(self.attempts) != times:
            raise AssertionError(f"it ran {_times(len(self.attempts))}, not {_times(times)}\n{self}")
        if apart is None:
            return self
        wanted = [float(apart)] * (times - 1) if isinstance(apart, (int, float)) else [float(one) for one in apart]
        if len(wanted) != times - 1:
            raise ValueError(f"{times} runs have {times - 1} pauses between them, apart= names {len(wanted)}")
        for number, (gap, want) in enumerate(zip(self.gaps, wanted, strict=True), 1):
            if abs(gap - want) > abs(want) * tolerance + SLACK.total_seconds():
                raise AssertionError(
                    f"between run {number} and run {number + 1} there were {gap:g} s, not {want:g} s +- {tolerance:.0%}\n{self}"
                )
        return self

    def then_succeeded(self) -> Self:
        return self._then(State.SUCCEEDED, "succeeded")

    def then_dead_lettered(self, error: str | None = None) -> Self:
        """It failed for good and is kept to be retried by hand; `error`: a text that its last error contains."""
        self._then(State.FAILED, "been dead-lettered")
        last = self.attempts[-1].error if self.attempts else None
        if error is not None and error not in (last or ""):
            raise AssertionError(f"its last error is {last!r}, without {error!r}\n{self}")
        return self

    def then_cancelled(self) -> Self:
        return self._then(State.CANCELLED, "been cancelled")

    def then_interrupted(self) -> Self:
        return self._then(State.INTERRUPTED, "been interrupted")

    def _then(self, state: State, said: str) -> Self:
        if self.state is not state:
            raise AssertionError(f"it should have {said}; it {'has not ended' if self.state is None else 'ended ' + self.state}\n{self}")
        return self

    def __str__(self) -> str:
        """A line for the task and one for each of its runs."""
        first = self.events[0]
        lines = [f"  task {first.task} of queue {first.queue!r}: {'not ended' if self.state is None else self.state.value}"]
        for run in self.attempts:
            at = (run.started_at - first.at).total_seconds()
            took = "" if run.ended_at is None else f" after {(run.ended_at - run.started_at).total_seconds():g} s"
            lines.append(f"  {at:>+14.3f} s  run {run.number}: {run.outcome}{took}{'' if run.error is None else f', {run.error}'}")
        return "\n".join(lines)


async def life_of(engine: Engine, task: Handle[Any] | Task | str) -> Life:
    """The life so far of a task, given as a handle, a Task or an id.  TaskNotFound as `Engine.history` raises it, TypeError for what is
    none of these.
    """
    if not isinstance(task, (str, Handle, Task)):
        raise TypeError(f"give a task by its handle, its id or as a Task, not {task!r:.80}")
    return Life(await engine.history(task if isinstance(task, str) else task.id))


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _runs(events: Sequence[HistoryEvent]) -> list[Run]:
    runs: list[Run] = []
    for event in events:
        if event.kind == "AttemptStarted":
            runs.append(Run(event.attempt or 0, event.at, None, "running", None))
        elif event.kind in _ENDINGS and runs and runs[-1].outcome == "running":
            error = event.details.get("error")
            text = f"{error[0]}: {error[1]}" if error else None
            runs[-1] = Run(runs[-1].number, runs[-1].started_at, event.at, _ENDINGS[event.kind], text)
    return runs


__all__ = ["Life", "Run", "life_of"]

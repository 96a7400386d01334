"""The life of a task: which event may follow which state, and how attempts are numbered."""

from __future__ import annotations

from typing import Any, Final

from journeyman.actors.following import NAMED_US
from journeyman.kernel.events import DUE_BY_INSTANT
from journeyman.kernel.lifecycle import TRANSITIONS
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work

LOOK_SECONDS: Final = 62  # between two looks of the engine at the clock, and a little more
_MAY: Final = frozenset((None if state is None else state.value, kind) for state, kind in TRANSITIONS)


class Transitions(Invariant):
    """Every event of a task follows the kernel's table; a terminal state has one way out, TaskRetried.

    An id may be used again once retention has dropped its task, even if the records are still there.
    """

    name = "transitions follow the table"

    def _check(self, seq: int, event: Any, work: Work | None) -> None:
        state, kind = None if work is None else work.state, type(event).__name__
        if (state, kind) in _MAY:
            return
        if kind == "TaskSubmitted" and work is not None and work.ended and work.expired(event.at):
            return
        if kind == "TransitionRejected" and work is None:
            return  # of a task that is gone: it changes nothing
        self.broken(f"{kind} at seq {seq} cannot follow {work or 'nothing'}")

    submitted = started = failed = lost = released = snoozed = cancel_requested = progress = succeeded = dead = cancelled = _check
    interrupted = retried = rejected = rescheduled = reprioritised = met = step_recorded = _check


class AttemptsCountUp(Invariant):
    """An attempt number is used once: each start has the number after the last, and what is said of a run bears the number of that run."""

    name = "attempts count up by one"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and event.attempt != work.attempt + 1:
            self.broken(f"{work} is started as attempt {event.attempt} at seq {seq}")

    def _of_the_run(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and event.attempt != work.attempt and (event.attempt or work.state == "running"):
            self.broken(f"{type(event).__name__} at seq {seq} is of attempt {event.attempt} of {work}")

    failed = lost = released = snoozed = cancel_requested = progress = succeeded = dead = cancelled = interrupted = _of_the_run
    step_recorded = _of_the_run


class OneLiveAttempt(Invariant):
    """At most one attempt of a task lives: none is started while the last still runs, in the journal or in a handler."""

    name = "at most one live attempt per task"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and (work.state == "running" or work.id in self.witness.inside):
            self.broken(f"{work} is started again at seq {seq} while attempt {work.attempt} lives")

    def entered(self, work: Work) -> None:
        if self.witness.inside.get(work.id, 0) > 1:
            self.broken(f"the handler of {work} is entered while another run of it is inside")


class StartsWhenDue(Invariant):
    """Nothing starts before its due instant, or after its deadline; where the calendar names that instant, kernel time is not off."""

    name = "nothing starts before it is due"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        if event.at < work.due_at:
            self.broken(f"{work} is started {work.due_at - event.at} us too early at seq {seq}")
        deadline = work.options.get("deadline_at")
        if deadline is not None and event.at > deadline:
            self.broken(f"{work} is started {event.at - deadline} us after its deadline at seq {seq}")
        if work.due_kind == DUE_BY_INSTANT and event.at - work.due_at < NAMED_US and "parent" not in work.options:
            self._by_the_calendar(seq, work)

    def _by_the_calendar(self, seq: int, work: Work) -> None:
        """It has waited until just now, and the engine has looked at the clock since that was disturbed, or when the instant was named."""
        witness = self.witness
        if (shell := witness.shell) is None:
            return
        apart_us = abs(shell.clock.wall() - shell.now())
        drifted_us = abs(witness.world.faults.clock_drift) * LOOK_SECONDS  # between two looks
        if apart_us > NAMED_US + drifted_us and witness.quiet_seconds() > LOOK_SECONDS:
            self.broken(f"{work} is started at seq {seq} when the wall clock is {apart_us} us from kernel time")


class StaleWordsChangeNothing(Invariant):
    """A stale attempt's word is put on record at most once for each attempt and kind, and changes nothing.

    That it changes nothing is the work of `AttemptsCountUp` and of the oracle, which takes in no more than the record.
    """

    name = "a stale word changes nothing"

    def rejected(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        if work.state == "running" and event.attempt == work.attempt and event.fence_epoch == self.oracle.lane(event.queue).epoch:
            self.broken(f"the word of the live attempt of {work} was rejected at seq {seq}: {event.kind}")
        for before, other in reversed(work.events):
            kind = type(other).__name__
            if kind == "TransitionRejected" and (other.attempt, other.kind) == (event.attempt, event.kind):
                self.broken(f"the {event.kind} of attempt {event.attempt} of {work} was rejected at seq {before} and again at {seq}")
                return


class CancelIsKept(Invariant):
    """After a cancel was asked for, a run ends cancelled, or succeeds because its handler returned all the same; and it is told at once."""

    name = "a cancel is not forgotten"
    calls = frozenset({"cancel"})

    def _other_end(self, seq: int, event: Any, work: Work | None) -> None:
        if work is not None and work.cancel is not None and work.state == "running":
            self.broken(f"{work}, which was asked to stop ({work.cancel!r}), got {type(event).__name__} at seq {seq}")

    failed = lost = released = snoozed = dead = interrupted = _other_end

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if asked.name != "cancel" or error is not None or not asked.shell:
            return
        for actor in asked.shell.actors.values():
            attempt = actor.attempts.get(asked.task)
            work = self.oracle.tasks.get(asked.task)
            if attempt is None or work is None or work.cancel is None or work.start_seq != attempt.seq:
                continue
            if attempt.launched and not attempt.cancel_requested:
                self.broken(f"the handler of {work} was not told of the cancel that was acknowledged")

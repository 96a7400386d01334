"""When kernel time follows the wall clock (DECISIONS 1).

Problem.  An hour apart, the two are brought together and the difference is an event: what came from durations stays as far away, and what
was named by the calendar stays where the calendar says.  Below that kernel time goes its own way, as few programs care whether their clock
was set or their machine slept for ten minutes; but a task that waits until `at=`, or for a deadline by the calendar, would be late, or
early, by just that much until the engine is opened again.  Choice: where somebody waits for an instant by the calendar, or names one, a
second apart is enough.  Where nobody does, nothing is written.

Rejected: reading the wall clock for such tasks only (two times in one queue: what is due before what would change by itself); following
every small step (an event, and all waiting tasks walked, for nobody).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from journeyman.actors.clock import STEP_US
from journeyman.actors.writer import Step
from journeyman.kernel.events import ClockStepped

if TYPE_CHECKING:
    from journeyman.actors.shell import Shell

NAMED_US: Final = 1_000_000  # how far apart they may be where an instant by the calendar counts


@trio.lowlevel.enable_ki_protection
def follow(shell: Shell, apart_us: int = STEP_US) -> int:
    """Bring kernel time to the wall clock if they are more than `apart_us` apart; by how much, in microseconds, 0 for not at all."""
    drift = shell.clock.drift(apart_us)
    if drift:
        shell.leapt = drift > 0
        step = Step()
        shell.clock.move(drift)
        shell.record_journal_event(ClockStepped(shell.now(), "", 0, shell.boot, drift), step)
        shell.writer.record(step)
        shell.timer.clock_moved()
        for actor in shell.actors.values():
            actor.clock_moved(drift)
    return drift


def follow_for_named(shell: Shell) -> None:
    """Somebody names an instant by the calendar: what is decided about it shall go by the calendar."""
    if shell.clock.drift(NAMED_US) and shell.sound and not shell.stopping and shell.writer.failure is None:
        follow(shell, NAMED_US)


def follow_for_waiting(shell: Shell) -> None:
    """As `follow_for_named`, if any task waits for such an instant."""
    if shell.clock.drift(NAMED_US) and any(actor.state.agenda.waits_by_calendar() for actor in shell.actors.values()):
        follow_for_named(shell)


__all__ = ["NAMED_US", "follow", "follow_for_named", "follow_for_waiting"]

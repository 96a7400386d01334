"""Finding out when nothing can move any more, and ending what does not end by itself.

Whoever waits is woken by a deadline or by somebody who runs.  So a world is still when all its tasks wait and no deadline is ahead but
those of tasks that only look around: the housekeepers, the step of the wall clock, the looks themselves.  What those find is given three
looks, a quarter of an hour, to set something going.

A world that is over or given up is cancelled, and that need not be its end: a task may be shielded, or swallow its Cancelled.  When such a
loop has nothing to wake it, or goes on and on, the shields are taken from all tasks; when that does not help either, the loop itself is
broken off, by an error out of the clock or the pulse.  A real process would have been killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
import trio.testing

from journeyman.actors.housekeeper import Housekeeper
from journeyman.sim import dump, scheduler
from journeyman.sim.errors import OutOfTime

if TYPE_CHECKING:
    from journeyman.sim.world import World

PAUSE: Final = 301.7  # seconds between two looks: not in step with the engine's own minutes
LOOKS: Final = 3
UNWINDING: Final = 10_000  # steps that the tasks of a world may take when it is over, before more is done about it
OF_EACH: Final = 100  # and so many more for each task that lives then
TRIES: Final = 3  # at taking the shields: whoever is cancelled may put up another


class BrokenOff(Exception):
    """Ends the loop of a world that does not end otherwise; trio wraps it, `simulate` knows it again."""


class Stillness:
    def __init__(self, world: World) -> None:
        self._world = world
        self._tries = 0
        # Told by their code: whatever else may set a deadline in the name of an engine is something that is going to happen.
        self._idlers = frozenset({scheduler.code_of(Housekeeper.run), scheduler.code_of(world.clockwork)})

    async def watch(self) -> None:
        """End the world when it is still."""
        still = 0
        while True:
            await trio.sleep(PAUSE + still)
            still = still + 1 if self._nothing_ahead() else 0
            if still < LOOKS:
                continue
            # Who was to wake at the instant of a look, or in a stall that hid it, has no deadline any more and has not run yet.
            await trio.testing.wait_all_tasks_blocked()
            if self._nothing_ahead():
                self._world.give_up(self._world.watch.deadlock())
                return
            still = 0

    def give_time(self) -> None:
        """From here on the tasks that live have so many steps to end."""
        pulse = self._world.pulse
        pulse.limit = pulse.steps + UNWINDING + OF_EACH * trio.lowlevel.current_statistics().tasks_living

    def press(self) -> None:
        """It is over, and there are tasks that do not end."""
        world = self._world
        if not world.over:
            return  # a real thread of the scenario's may still wake it
        self._tries += 1
        self.give_time()
        if self._tries <= TRIES:
            world.nursery.cancel_scope.cancel()
            scheduler.take_shields()
            return
        world.end()
        stuck = dump.stuck(scheduler.hold_for_ever())
        if world.failure is None:
            world.failure = OutOfTime(f"the world is over, but {stuck}")
        else:
            world.failure.add_note(stuck)
        raise BrokenOff

    def _nothing_ahead(self) -> bool:
        """Whether every deadline that is set is one of those who look around."""
        most = sum(boot.open for boot in self._world.boots) + 1  # so many idlers at most: of a world at work, no more is asked
        return scheduler.deadlines() <= most and all(task in self._idlers for task in scheduler.sleepers())


__all__ = ["BrokenOff", "Stillness"]

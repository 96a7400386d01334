"""Finding out when nothing can move any more.

Whoever waits is woken by a deadline or by somebody who runs.  So a world is still when all its tasks wait and no deadline is ahead but
those of tasks that only look around: the housekeepers, the step of the wall clock, the looks themselves.  What those find is given three
looks, a quarter of an hour, to set something going.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
import trio.testing

from journeyman.actors.housekeeper import Housekeeper
from journeyman.sim import scheduler

if TYPE_CHECKING:
    from journeyman.sim.world import World

PAUSE: Final = 301.7  # seconds between two looks: not in step with the engine's own minutes
LOOKS: Final = 3


class Stillness:
    def __init__(self, world: World) -> None:
        self._world = world
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

    def _nothing_ahead(self) -> bool:
        """Whether every deadline that is set is one of those who look around."""
        most = sum(boot.open for boot in self._world.boots) + 1  # so many idlers at most: of a world at work, no more is asked
        return scheduler.deadlines() <= most and all(task in self._idlers for task in scheduler.sleepers())


__all__ = ["Stillness"]

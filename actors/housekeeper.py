"""The housekeeper: the only thing that wakes an idle engine, once a minute.

It lets the wall clock and kernel time meet again when they have drifted apart, takes a checkpoint when something has changed, prunes what
retention no longer keeps, and lets the store look after itself (stale readers, free space).
"""

from __future__ import annotations

from typing import Final

import trio

from journeyman.actors.shell import Shell
from journeyman.actors.snapshotter import Snapshotter
from journeyman.actors.writer import Step
from journeyman.journal.prune import Pruner
from journeyman.kernel.bounds import PRUNE_TASKS
from journeyman.kernel.events import ClockStepped

INTERVAL: Final = 60.0  # seconds


class Housekeeper:
    def __init__(self, shell: Shell, snapshotter: Snapshotter) -> None:
        self._shell = shell
        self._snapshotter = snapshotter
        self._pruner = Pruner(shell.journal, shell.catalog, shell.checkpoint)
        self._doubtful_step = False

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        while True:
            await trio.sleep(INTERVAL)
            await self.tidy()

    async def tidy(self) -> None:
        """One round of all duties."""
        shell = self._shell
        self._follow_clock()
        shell.store.tend()
        await self._snapshotter.take()
        if not self._doubtful_step:
            await self.prune(shell.now())

    def _follow_clock(self) -> None:
        """Journal a step of the wall clock.  After a large step forward, prune only when a second look confirms it."""
        shell = self._shell
        drift = shell.clock.drift()
        if not drift:
            self._doubtful_step = False
            return
        self._doubtful_step = drift > 0
        step = Step()
        shell.clock.move(drift)
        shell.record_journal_event(ClockStepped(shell.now(), "", 0, shell.boot, drift), step)
        shell.writer.record(step)
        for actor in shell.actors.values():
            actor.wake()

    async def prune(self, now: int) -> int:
        """Delete what has expired by `now` from memory and disk, in bounded batches; the count of tasks."""
        total = 0
        while n := await self._prune_some(now):
            total += n
        return total

    async def _prune_some(self, now: int) -> int:
        raise NotImplementedError(PRUNE_TASKS)

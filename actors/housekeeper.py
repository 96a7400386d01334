"""The housekeeper: the only thing that wakes an idle engine, once a minute.

It lets the wall clock and kernel time meet again when they have drifted apart, takes a checkpoint when something has changed, prunes what
retention no longer keeps, and lets the store look after itself (stale readers, free space).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

import trio

from journeyman.actors.shell import Shell
from journeyman.actors.snapshotter import Snapshotter
from journeyman.actors.writer import Step
from journeyman.journal.compact import compact
from journeyman.journal.prune import Pruner
from journeyman.kernel.bounds import COMPACT_RECORDS, PRUNE_TASKS
from journeyman.kernel.events import ClockStepped
from journeyman.kernel.lifecycle import State
from journeyman.kernel.state import TaskState

INTERVAL: Final = 60.0  # seconds


class Housekeeper:
    def __init__(self, shell: Shell, snapshotter: Snapshotter) -> None:
        self._shell = shell
        self._snapshotter = snapshotter
        self._pruner = Pruner(shell.journal, shell.catalog, shell.checkpoint, pinned=shell.dependencies.pinned)
        self._doubtful_step = False
        snapshotter.after = self.prune_expired

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        while True:
            await trio.sleep(INTERVAL)
            await self.tidy()

    async def tidy(self) -> None:
        """One round of all duties."""
        shell = self._shell
        self._follow_clock()
        self._mind_the_schedules()
        shell.store.tend()
        await self._snapshotter.take()
        await self.prune_expired()

    async def prune_expired(self) -> int:
        """Prune what has expired by now, unless the clock is in doubt; the count of tasks."""
        return 0 if self._doubtful_step else await self.prune(self._shell.now())

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
        shell.timer.clock_moved()
        for actor in shell.actors.values():
            actor.clock_moved(drift)

    def _mind_the_schedules(self) -> None:
        """The wall clock may have drifted from kernel time, a little: alarms for cron are set anew."""
        for actor in self._shell.actors.values():
            if actor.state.schedules:
                actor.wake()

    @trio.lowlevel.enable_ki_protection
    async def prune(self, now: int) -> int:
        """Delete what has expired by `now`, in bounded commits; the count of tasks.  Then fold old bookkeeping records into one."""
        shell, pruner = self._shell, self._pruner

        def expired() -> Sequence[TaskState]:
            return pruner.expired(shell.world, now, PRUNE_TASKS, shell.writer.durable_seq)

        total = await self._remove(expired, "retention")
        await self._compact()
        return total

    @trio.lowlevel.enable_ki_protection
    async def prune_by_hand(self, ended_by: int, queues: Collection[str], states: Collection[State], by: str, reason: str) -> int:
        """Delete tasks that ended at or before `ended_by` whatever their retention says; the count."""
        shell, pruner = self._shell, self._pruner
        await self._snapshotter.take()
        now = shell.now()
        wanted = iter(list(self._ended(ended_by, queues, states, now)))

        def listed() -> Sequence[TaskState]:
            found: list[TaskState] = []
            for task in wanted:
                held = shell.actors[task.queue].state.tasks.get(task.id)
                if held is not None:
                    if held.seq == task.seq and pruner.may_go(held, shell.writer.durable_seq):
                        found.append(held)
                elif not shell.dependencies.pinned(task.id) and shell.catalog.get(task.id, 0) is not None:  # nor taken meanwhile
                    found.append(task)
                if len(found) == PRUNE_TASKS:
                    break
            return found

        return await self._remove(listed, by, reason)

    def _ended(self, ended_by: int, queues: Collection[str], states: Collection[State], now: int) -> Iterator[TaskState]:
        shell = self._shell
        for name in sorted(queues):
            for state in states:
                yield from self._ended_before(shell.actors[name].state.listed(state, now), ended_by)
                before: int | None = None
                while page := shell.catalog.newest(name, state, now, before=before, limit=PRUNE_TASKS):
                    yield from self._ended_before(page, ended_by)
                    before = page[-1].seq

    @staticmethod
    def _ended_before(tasks: Iterable[TaskState], ended_by: int) -> Iterator[TaskState]:
        return (task for task in tasks if task.finished_at is not None and task.finished_at <= ended_by)

    async def _remove(self, some: Callable[[], Sequence[TaskState]], by: str, reason: str = "") -> int:
        """Prune what `some` finds, commit after commit, until it finds nothing."""
        shell = self._shell
        total = 0
        async with self._snapshotter.lock:
            while True:
                await shell.mended()
                await shell.writer.settled()
                count = await shell.sealed(lambda: self._remove_once(some, by, reason))
                if not count:
                    return total
                total += count
                await shell.writer.settled()
                await trio.lowlevel.cancel_shielded_checkpoint()

    def _remove_once(self, some: Callable[[], Sequence[TaskState]], by: str, reason: str) -> int:
        """One commit's worth, in one step."""
        with self._shell.keeping_house():
            return self._remove_some(some(), by, reason)

    def _remove_some(self, tasks: Sequence[TaskState], by: str, reason: str) -> int:
        shell, pruner = self._shell, self._pruner
        if not tasks or not shell.sound:
            return 0
        pruning = pruner.prune(tasks, shell.world, shell.now(), by=by, reason=reason)
        step = Step()
        for event in pruning.events:
            shell.actors[event.queue].recorder.take(event, step)
        step.extras.append(pruning.extra)
        step.effects.append((pruner.durable, pruning))
        shell.writer.record(step)
        return len(tasks)

    async def _compact(self) -> None:
        shell = self._shell
        async with self._snapshotter.lock:
            await shell.writer.settled()
            await shell.sealed(self._compact_once)

    def _compact_once(self) -> None:
        shell = self._shell
        if not shell.sound:
            return
        with shell.keeping_house():
            compaction = compact(shell.journal, shell.checkpoint, shell.world, shell.now(), at_least=COMPACT_RECORDS)
        if compaction is not None:
            step = Step()
            shell.record_journal_event(compaction.event, step)
            step.extras.append(compaction.extra)
            shell.writer.record(step)

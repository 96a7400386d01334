"""The housekeeper: the only thing that wakes an idle engine, once a minute.

It lets the wall clock and kernel time meet again when they have drifted apart, lets the store look after itself (stale readers, free
space), and, when it is worth it, takes a checkpoint and prunes what retention no longer keeps.

Problem.  A checkpoint and a prune cost three or four commits, however little there is to write.  Once a minute that is more than all else a
quiet engine does, and on a real disk a dozen barriers a minute that keep it awake.  Choice: both are done in the first minute of a boot and
in each that finds 1,000 events gathered; otherwise each pause is twice as long as the last, up to ten minutes for prunes (nobody sees what
has expired in the meantime) and up to a day for checkpoints.  The tail that a recovery reads stays short all the same, and a task whose
whole life lies in it leaves without a row and an index entry ever having been written for it.  A prune that finds tasks which only a
checkpoint lets go takes one.  Where the disk is full, and tasks wait for that or are refused, what has expired is pruned at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final

import trio

from journeyman.actors.following import follow, follow_for_waiting
from journeyman.actors.shell import Shell
from journeyman.actors.snapshotter import Snapshotter
from journeyman.actors.writer import Step
from journeyman.journal.compact import compact
from journeyman.journal.errors import JournalFull
from journeyman.journal.prune import Pruner
from journeyman.journal.store import Batch
from journeyman.kernel.bounds import CHECKPOINT_QUIET_EVENTS, COMPACT_RECORDS, OPERATION_CHUNK, PRUNE_TASKS
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.state import TaskState

INTERVAL: Final = 60.0  # seconds
AGAIN: Final = 1.0  # seconds between two prunes for lack of room, at least
PRUNE_MINUTES: Final = 10  # that a prune waits at most
CHECKPOINT_MINUTES: Final = 1_440  # that a checkpoint waits at most while little happens
Listing = Callable[[int | None], Iterator[TaskState]]  # tasks with a seq below that, newest first, as they stand when it is called


class Pause:
    """Minutes between two of something: each time twice as many, up to `most`."""

    __slots__ = ("_length", "_minutes", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._length = 1
        self._minutes = 0

    def over(self, at_once: bool) -> bool:
        """Another minute has passed: whether the pause is over, or ended by this one."""
        self._minutes += 1
        if self._minutes < self._length and not at_once:
            return False
        self._length = min(2 * self._minutes, self._most)
        self._minutes = 0
        return True

    def cut_short(self) -> None:
        """Let it be over in a minute."""
        self._length = 1


class Housekeeper:
    def __init__(self, shell: Shell, snapshotter: Snapshotter) -> None:
        self._shell = shell
        self._snapshotter = snapshotter
        self._pruner = Pruner(shell.journal, shell.catalog, shell.checkpoint, pinned=shell.dependencies.pinned)
        self._doubtful_step = False
        self._to_checkpoint = Pause(CHECKPOINT_MINUTES)
        self._to_prune = Pause(PRUNE_MINUTES)
        self._hurry = trio.Event()  # set when tasks, or who submits them, want room on the disk
        snapshotter.after = self.prune_expired
        shell.prune_wanted = lambda: self._hurry.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        due = trio.current_time() + INTERVAL
        while True:
            with trio.move_on_at(due) as pause:
                await self._hurry.wait()
            if pause.cancelled_caught:
                await self.tidy()
                due = trio.current_time() + INTERVAL
            else:
                await self._prune_and_let_go()
                await trio.sleep(AGAIN)
                self._hurry = trio.Event()

    async def tidy(self, *, at_once: bool = False) -> None:
        """One round: what cannot wait longer than a minute, and of the rest what is worth it by now, or (`at_once`) all of it."""
        self._follow_clock()
        self._mind_the_schedules()
        self._shell.store.tend()
        newest = self._shell.checkpoint
        tail = self._shell.journal.next_seq - 1 - newest.through_seq
        # One that was broken off holds back from prunes what it has not written: it is finished at once.
        checkpoint = self._to_checkpoint.over(at_once or tail >= CHECKPOINT_QUIET_EVENTS or newest.running)
        if checkpoint:
            await self._snapshotter.take()
        if self._to_prune.over(checkpoint):
            await self._prune_and_let_go()

    async def _prune_and_let_go(self) -> None:
        """Prune; what lived across the newest checkpoint and has expired goes after another one."""
        async with self._making_room():
            await self.prune_expired()
            if self._pruner.held_back:
                await self._snapshotter.take(for_prune=True)
                self._pruner.look_again()
                await self.prune_expired()
        if self._doubtful_step:
            self._to_prune.cut_short()

    @asynccontextmanager
    async def _making_room(self) -> AsyncIterator[None]:
        """A prune is under way.  Where there is no room for new tasks, a commit more follows it: LMDB uses what a commit freed from the
        next but one on, and what runs next would make the file grow.
        """
        shell = self._shell
        before = shell.journal.next_seq if shell.room.strained else 0
        with shell.standstill.prune():
            yield
            if before and before != shell.journal.next_seq and shell.sound:
                step, again = Step(), Batch()
                shell.catalog.tally.put_into(again)
                step.extras.append(again)
                shell.writer.record(step)
                await shell.writer.settled()

    async def prune_expired(self) -> int:
        """Prune what has expired by now, unless the clock is in doubt; the count of tasks."""
        return 0 if self._doubtful_step or self._shell.leapt else await self.prune(self._shell.now())

    def _follow_clock(self) -> None:
        """Journal a step of the wall clock.  After a large step forward, prune only when a second look confirms it."""
        shell = self._shell
        leapt_before, shell.leapt = shell.leapt, False
        drift = follow(shell)
        if not drift:
            follow_for_waiting(shell)
        self._doubtful_step = leapt_before or shell.leapt
        if drift or self._doubtful_step:
            self._to_prune.cut_short()  # what has expired by the new time is looked for at once, or where that is in doubt a minute later
        shell.leapt = False

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
            nonlocal now
            now = min(now, shell.now())  # it may have gone back since, and a queue must not be told of a time that has not come
            return pruner.expired(shell.world, now, PRUNE_TASKS, shell.writer.durable_seq)

        total = await self._remove(expired, "retention", more=lambda: pruner.more)
        await self._compact()
        return total

    @trio.lowlevel.enable_ki_protection
    async def prune_by_hand(self, listings: Iterable[Listing], by: str, reason: str, tell: Callable[[int], object] = lambda _: None) -> int:
        """Delete ended tasks that somebody has chosen, whatever their retention says; the count.  `listings` are read a chunk at a time:
        there may be millions.  `tell` hears how many it has been so far.
        """
        async with self._making_room():
            return await self._prune_chosen(list(listings), by, reason, tell)

    async def _prune_chosen(self, listings: Sequence[Listing], by: str, reason: str, tell: Callable[[int], object]) -> int:
        """All of it after a checkpoint.  Where room is short, first what may go without one, which makes room for it, and the rest after
        it; JournalFull when that is all there is, and there is still none.
        """
        self._shell.look_at_the_disk()
        short = self._shell.room.short
        if not short:
            await self._snapshotter.take(for_prune=True)
        total, waits = await self._remove_listed(listings, by, reason, tell)
        if waits and short:
            await self._snapshotter.take(for_prune=True)
            if not self._snapshotter.cramped:
                return total + (await self._remove_listed(listings, by, reason, lambda more: tell(total + more)))[0]
        if waits and not total and self._snapshotter.cramped:
            raise JournalFull(
                "the disk of the journal is full: what was chosen can be pruned after a checkpoint only, and there is no room for one."
                "  Free some space, or `journeyman backup` the journal to a larger disk and run the engine there"
            )
        return total

    async def _remove_listed(self, listings: Sequence[Listing], by: str, reason: str, tell: Callable[[int], object]) -> tuple[int, bool]:
        """How many went, and whether others wait for a checkpoint."""
        total, waits = 0, False
        for listing in listings:
            before: int | None = None
            while tasks := await self._next(listing, before):
                before = tasks[-1].seq
                chosen = _Chosen(self._shell, self._pruner, tasks)
                total += await self._remove(chosen, by, reason)
                waits = waits or chosen.waits
                tell(total)
        return total + await self._remove(_Chosen(self._shell, self._pruner, []), by, reason), waits  # none; behind whoever keeps house now

    async def _next(self, listing: Listing, before: int | None) -> list[TaskState]:
        """The next chunk.  What ended the engine, if it has ended: its caller may be a task that goes on."""
        await self._shell.mended()
        await self._shell.writer.settled()
        return list(islice(listing(before), OPERATION_CHUNK))

    async def _remove(
        self, some: Callable[[], Sequence[TaskState]], by: str, reason: str = "", *, more: Callable[[], bool] = lambda: True
    ) -> int:
        """Prune what `some` finds, commit after commit, until it finds nothing or knows that there is no more."""
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
                if not more():
                    return total
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
        if len(shell.journal.loose) < COMPACT_RECORDS:
            return
        async with self._snapshotter.lock:
            more = True
            while more:
                await shell.mended()
                await shell.writer.settled()
                more = await shell.sealed(self._compact_once)

    def _compact_once(self) -> bool:
        """One commit's worth; whether there is more."""
        shell = self._shell
        if not shell.sound:
            return False
        with shell.keeping_house():
            compaction = compact(shell.journal, shell.checkpoint, shell.world, shell.now(), at_least=COMPACT_RECORDS)
        if compaction is None:
            return False
        step = Step()
        shell.record_journal_event(compaction.event, step)
        step.extras.append(compaction.extra)
        shell.writer.record(step)
        return not compaction.whole


class _Chosen:
    """Tasks that somebody has chosen to prune, some at each call, without those that must stay or were taken meanwhile."""

    def __init__(self, shell: Shell, pruner: Pruner, tasks: list[TaskState]) -> None:
        self._shell, self._pruner, self._left = shell, pruner, tasks
        self.waits = False  # whether one is among them that only another checkpoint lets go

    def __call__(self) -> Sequence[TaskState]:
        found: list[TaskState] = []
        while self._left and not found:
            part, self._left = self._left[:PRUNE_TASKS], self._left[PRUNE_TASKS:]
            settled = self._shell.catalog.get_many([task.id for task in part], 0)
            found = [one for task in part if (one := self._as_it_stands(task, settled.get(task.id))) is not None]
        return found

    def _as_it_stands(self, task: TaskState, settled: TaskState | None) -> TaskState | None:
        """The task, if it may go now."""
        shell = self._shell
        held = shell.actors[task.queue].state.tasks.get(task.id) or settled
        if held is None or held.seq != task.seq or shell.dependencies.pinned(task.id):
            return None
        if held is settled or self._pruner.may_go(held, shell.writer.durable_seq):
            return held
        self.waits = self.waits or held.state in TERMINAL
        return None

"""The life of one opened engine: boot, run, stop.

    boot:  EngineBooted, ClockStepped if need be, `Open` to every queue (recovery is an ordinary command), one commit; then the
    actors start. stop:  no new starts; wait `grace`; tell the rest to end, uncharged; wind up; EngineClosed; a last checkpoint if
    the tail is long; close.

Problem.  The block that opened the engine may be cancelled from outside or hit by Ctrl-C at any moment, and what runs must
still be put back in order.  Choice: everything the engine runs lives in one shielded task below the block's nursery; only
`stop` ends it, and after a cancel `stop` has five seconds.  A kill at any instant leads to the same next open, so stopping is
an optimisation, not a duty.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from journeyman.actors.following import follow_for_waiting
from journeyman.actors.housekeeper import Housekeeper
from journeyman.actors.lane import Lane
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.shell import Shell
from journeyman.actors.snapshotter import Snapshotter
from journeyman.actors.supervisor import Supervisor
from journeyman.actors.writer import Step
from journeyman.kernel.bounds import CLOSING_TAIL_EVENTS
from journeyman.kernel.events import ClockStepped, EngineBooted, EngineClosed
from journeyman.kernel.state import QueueState

CLEANUP_SECONDS: Final = 5.0  # for handlers that were told to end, and for a stop after a cancel
THREAD_SECONDS: Final = 1.0  # of these, for threads: one that has not ended by then is a straggler


class Runtime:
    """One boot.  `stopped_error` makes the error for calls that are still open when the engine closes."""

    def __init__(
        self,
        shell: Shell,
        lanes: Mapping[str, Lane],
        *,
        entered: Mapping[str, frozenset[bytes]],
        clean: bool,
        facts: Mapping[str, Any],
        reload: Callable[[str], QueueState],
        broken_error: Callable[[str, BaseException, bool], BaseException],
        stopped_error: Callable[[], BaseException],
    ) -> None:
        self.shell = shell
        self.supervisor = Supervisor(shell, reload, broken_error)
        self.snapshotter = Snapshotter(shell)
        self.housekeeper = Housekeeper(shell, self.snapshotter)
        self._lanes = lanes
        self._entered = entered
        self._clean = clean
        self._facts = facts
        self._stopped_error = stopped_error
        self._closing = trio.Event()
        self._stop_lock = trio.Lock()
        self._stop_result: bool | None = None
        self.closing = False  # past the last moment at which something could still be said; what comes now is refused
        self.failure: BaseException | None = None

    # --- boot ---------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self, booted: trio.Event) -> None:
        """Boot, say so once that is durable, and run until `stop` or a failure of the journal."""
        shell = self.shell
        with trio.CancelScope(shield=True):
            try:
                async with trio.open_nursery() as nursery:
                    shell.nursery = nursery
                    self._boot()
                    await shell.writer.settled()
                    for actor in list(shell.actors.values()):
                        nursery.start_soon(self.supervisor.watch, actor)
                    nursery.start_soon(shell.timer.run)
                    nursery.start_soon(self.snapshotter.run)
                    nursery.start_soon(self.housekeeper.run)
                    booted.set()
                    await self._closing.wait()
                    nursery.cancel_scope.cancel()
            finally:
                self._close()

    def _boot(self) -> None:
        shell = self.shell
        shell.boot = shell.world.boots + 1
        step = Step()
        now = shell.now()
        facts = {"python": platform.python_version(), "pid": os.getpid(), "clean": self._clean, **self._facts}
        shell.record_journal_event(EngineBooted(now, "", 0, shell.boot, facts), step)
        if shell.clock.step:
            shell.record_journal_event(ClockStepped(now, "", 0, shell.boot, shell.clock.step), step)
        shell.writer.record(step)
        names = set(shell.world.queues) | set(self._lanes)
        for name in sorted(names):
            self.add(name)
        shell.limiters.resume()
        for actor in shell.actors.values():
            actor.tap.resume()
            shell.dependencies.look_again(actor)
        follow_for_waiting(shell)  # the clock may have been set back while nobody was here, by less than it takes to say so above

    def add(self, name: str) -> QueueActor:
        """Give a queue its actor and let it take charge."""
        shell = self.shell
        state = shell.world.queues.get(name)
        if state is None:
            state = shell.world.queues[name] = QueueState(name)
        actor = shell.actors[name] = QueueActor(shell, state, self._lanes.get(name))
        actor.open(shell.boot, self._entered.get(name, frozenset()), crashed=True)
        return actor

    @trio.lowlevel.enable_ki_protection
    async def declare(self, lane: Lane) -> None:
        """A queue declared while the engine runs; durable on return.  What ended the engine, if it has ended."""
        shell = self.shell
        await self.sound()
        if self._closing.is_set():
            raise self.ending()
        lanes = dict(self._lanes)
        lanes[lane.name] = lane
        self._lanes = lanes
        actor = shell.actors.get(lane.name)
        if actor is None:
            actor = self.add(lane.name)
            shell.nursery.start_soon(self.supervisor.watch, actor)
        else:
            actor.declare(lane)
        await shell.writer.settled()

    def declared(self, name: str) -> bool:
        return name in self._lanes

    def ending(self) -> BaseException:
        """What to tell who comes when the engine closes: why."""
        return self._stopped_error() if self.failure is None else self.failure

    async def sound(self) -> None:
        """Wait until every queue's state in memory is what the journal says: before a step that is no queue's own.  Raises what ended the
        engine if that comes first.
        """
        shell = self.shell
        if not shell.sound:
            await shell.mended()
            if not shell.sound:
                raise self.ending()

    # --- stop ---------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def stop(self, grace: float) -> bool:
        """Stop in good order; True if everything that ran could finish.  Calling it again waits for the first call's result."""
        async with self._stop_lock:
            if self._stop_result is None:
                self._stop_result = await self._stop(grace)
            return self._stop_result

    async def _stop(self, grace: float) -> bool:
        shell = self.shell
        shell.stopping = True
        for actor in shell.actors.values():
            actor.wake()
            for attempt in list(actor.attempts.values()):
                if not attempt.entered:
                    attempt.stop()  # its handler has not been entered: give it back at once
        with trio.move_on_after(grace):
            while shell.running:
                await shell.next_ending()
        # What was never entered had nothing to finish; it may still be on its way back.
        finished = not any(attempt.entered for actor in shell.actors.values() for attempt in actor.attempts.values())
        await self._tell_to_end()
        if self.failure is None:
            await self._wind_up()
        self._closing.set()
        return finished and not shell.straggling and self.failure is None

    async def _tell_to_end(self) -> None:
        """What still runs is told to end, threads are left behind when they do not, and clean-ups have their time."""
        shell = self.shell
        attempts = [attempt for actor in shell.actors.values() for attempt in actor.attempts.values()]
        for attempt in attempts:
            attempt.ask_to_stop()
        with trio.move_on_after(CLEANUP_SECONDS):
            with trio.move_on_after(THREAD_SECONDS):
                while any(attempt.current for attempt in attempts if attempt.handler.threaded):
                    await shell.next_ending()
            for actor in shell.actors.values():
                actor.stop_attempts()
            while shell.running:
                await shell.next_ending()

    async def _wind_up(self) -> None:
        """Everything said so far becomes durable, then the boot ends on the record."""
        shell = self.shell
        self.closing = True
        try:
            with trio.move_on_after(CLEANUP_SECONDS):
                while not all(not actor.backlog or actor.broken is not None for actor in shell.actors.values()):
                    for actor in shell.actors.values():
                        actor.wake()
                    await trio.lowlevel.checkpoint()
            await shell.writer.settled()
            if shell.journal.next_seq - shell.checkpoint.through_seq > CLOSING_TAIL_EVENTS:
                await self.snapshotter.take()
            step = Step()
            shell.record_journal_event(EngineClosed(shell.now(), "", 0, shell.boot), step)
            shell.writer.record(step)
            await shell.writer.settled()
        except Exception as error:  # the journal failed while it was being closed
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """The journal cannot be written any more: nothing may be decided from here on (law 5)."""
        if self.failure is None:
            self.failure = error
            self.shell.log.error("the journal failed; the engine closes: %s", error)
        self.shell.stopping = True
        for actor in self.shell.actors.values():
            for attempt in [one for one in actor.attempts.values() if not one.launched]:
                del actor.attempts[attempt.task.id]  # its start was in the commit that failed: it will never run
            actor.stop_attempts()
            actor.break_off(error)
        self._closing.set()

    def close_now(self) -> None:
        """End the runtime whatever has not wound up: as a kill would, and as safe."""
        self._closing.set()

    def _close(self) -> None:
        shell = self.shell
        shell.closed = True
        shell.mend()  # whoever waits for a state in doubt need not be in the block, nor who waits for the queues to come to rest
        if shell.news is not None:
            shell.news.set()
        error = self.ending()
        for actor in shell.actors.values():
            actor.break_off(error)
        waiters, shell.waiters = shell.waiters, {}
        for waiting in waiters.values():
            for call in waiting:
                call.fail(error)
        shell.writer.close(error)
        if not shell.straggling:
            shell.store.close()

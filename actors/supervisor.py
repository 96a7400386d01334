"""The supervisor: keeps queue actors alive, each apart from the others.

Problem.  A bug in one queue's decisions must not stop the other queues, and what that actor had in memory cannot be trusted
after it. Choice: an actor that dies is rebuilt from the journal at once, as after a crash of the process, and takes its next step
after a pause that grows: while its state is in doubt, whatever looks at all queues waits, and that must not take longer than the
reading.  Its old attempts are fenced by the new epoch and their handlers told to stop, uncharged.  An actor that keeps dying is
declared broken: its callers and whoever waits for its tasks get `QueueBroken`, its tasks stay in the journal.  A failed append is
not restarted from, nor a failed read: they end the engine (law 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.shell import Shell
from journeyman.journal.errors import JournalError
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.state import QueueState

RESTARTS_MAX: Final = 5  # within RESTART_WINDOW; then the queue is broken
RESTART_WINDOW: Final = 600.0  # seconds
_PAUSES: Final = (0.0, 0.1, 1.0, 5.0, 20.0)  # seconds before the n-th restart


class Supervisor:
    """`reload(name)` reads one queue's state from the durable journal; `broken(name, error, for good)` makes the error its callers see."""

    def __init__(
        self, shell: Shell, reload: Callable[[str], QueueState], broken: Callable[[str, BaseException, bool], BaseException]
    ) -> None:
        self._shell = shell
        self._reload = reload
        self._broken = broken

    @trio.lowlevel.enable_ki_protection
    async def watch(self, actor: QueueActor) -> None:
        """Run one actor for the life of the engine."""
        try:
            error = await self._run(actor)
            if self._shell.writer.failure is None:
                await self._give_up(actor, error)
        except JournalError as error:  # a page that cannot be read: no bug, and no restart would mend it
            self._shell.fail(error)

    async def _run(self, actor: QueueActor) -> Exception:
        """Run it, and restart it when it dies, as long as that has any sense; what it died of last."""
        deaths: list[float] = []
        while True:
            try:
                if deaths:
                    await self._restart(actor)
                    await self._rest(actor, _PAUSES[min(len(deaths), len(_PAUSES)) - 1])
                await actor.run()
            except JournalError:
                raise
            except Exception as error:  # a bug in a decision: the supervisor decides
                if self._shell.writer.failure is not None:
                    return error
                now = trio.current_time()
                deaths = [at for at in deaths if now - at < RESTART_WINDOW] + [now]
                self._shell.log.exception(
                    "queue actor died; restarting it from the journal", extra={"queue": shown_name(actor.name), "deaths": len(deaths)}
                )
                actor.figures.restarts += 1
                actor.resting = error, self._shell.now()
                actor.break_off(self._error(actor, error))
                self._forget_turns(actor)
                if len(deaths) > RESTARTS_MAX:
                    return error

    async def _restart(self, actor: QueueActor) -> None:
        """Rebuild the actor's state from what is durable and take charge again: what ran is given back, and its slots with it."""
        await self._read_anew(actor)
        actor.open(self._shell.boot, frozenset(), crashed=False)
        self._shell.dependencies.look_again(actor)

    async def _rest(self, actor: QueueActor, seconds: float) -> None:
        """The pause before it takes its first step.  Over sooner where another queue's step has failed in it, or the engine stops."""
        assert actor.resting is not None
        actor.resting = actor.resting[0], self._shell.now() + round(seconds * 1_000_000)
        with trio.move_on_after(seconds):
            while not actor.doubtful and not self._shell.stopping:
                await actor.woken(standing_in=True)
        actor.resting = None
        actor.wake()

    async def _read_anew(self, actor: QueueActor) -> None:
        """At once, and not after the pause: as long as the state is in doubt, whatever asks for it waits."""
        shell = self._shell
        actor.doubtful = True  # whatever it died of: nobody reaches into what is about to be replaced
        actor.stop_attempts()
        shell.checkpoint.encode_all()  # a running checkpoint must not meet the state read anew
        await shell.writer.settled()
        for attempt in [one for one in actor.attempts.values() if not one.launched]:
            del actor.attempts[attempt.task.id]  # its start was in the step that failed: it will never run
        state = self._reload(actor.name)
        shell.world.queues[actor.name] = state
        actor.adopt(state)
        shell.mend()

    def _forget_turns(self, actor: QueueActor) -> None:
        """Whoever stands in line behind it goes on."""
        self._shell.limiters.forget(actor)
        self._shell.slots.forget(actor)
        if actor.budget is not None:
            actor.budget.slots.forget(actor)

    async def _give_up(self, actor: QueueActor, error: Exception) -> None:
        """A broken queue answers everything with the reason, until the engine closes.  Nothing of it runs, and what checkpoints write of
        it must be true.
        """
        shell = self._shell
        shell.log.error("queue given up: its actor died too often", extra={"queue": shown_name(actor.name)})
        actor.broken, actor.resting = error, None
        try:
            await self._restart(actor)
        except JournalError:
            raise
        except Exception:  # the bug is in the taking charge: what it recorded as running is for the next boot
            await self._read_anew(actor)
        for task in [id for id in shell.waiters if id in actor.state.tasks]:
            for call in shell.waiters.pop(task):
                call.fail(self._error(actor, error))
        while True:
            if actor.doubtful:  # a step of another queue has failed in it
                await self._read_anew(actor)
            if shell.news is not None:
                shell.news.set()  # whoever waits for the queues to come to rest need not wait for this one, but for its handlers
            actor.break_off(self._error(actor, error))
            await actor.woken(standing_in=True)

    def _error(self, actor: QueueActor, error: BaseException) -> BaseException:
        return self._broken(shown_name(actor.name), error, actor.broken is not None)

"""The supervisor: keeps queue actors alive, each apart from the others.

Problem.  A bug in one queue's decisions must not stop the other queues, and what that actor had in memory cannot be trusted
after it. Choice: an actor that dies is rebuilt from the journal, as after a crash of the process, after a pause that grows; its
old attempts are fenced by the new epoch and their handlers told to stop, uncharged.  An actor that keeps dying is declared
broken: its callers get `QueueBroken`, its tasks stay in the journal.  A failed append is not restarted from, nor a failed read:
they end the engine (law 5).
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
    """`reload(name)` reads one queue's state from the durable journal; `broken(error)` makes the error that its callers see."""

    def __init__(self, shell: Shell, reload: Callable[[str], QueueState], broken: Callable[[str, BaseException], BaseException]) -> None:
        self._shell = shell
        self._reload = reload
        self._broken = broken

    @trio.lowlevel.enable_ki_protection
    async def watch(self, actor: QueueActor) -> None:
        """Run one actor for the life of the engine."""
        deaths: list[float] = []
        while True:
            try:
                await actor.run()
            except JournalError as error:  # a page that cannot be read: no bug, and no restart would mend it
                self._shell.fail(error)
                return
            except Exception as error:  # a bug in a decision: the supervisor decides
                if self._shell.writer.failure is not None:
                    return
                now = trio.current_time()
                deaths = [at for at in deaths if now - at < RESTART_WINDOW] + [now]
                self._shell.log.exception(
                    "queue actor died; restarting it from the journal", extra={"queue": shown_name(actor.name), "deaths": len(deaths)}
                )
                actor.break_off(self._broken(shown_name(actor.name), error))
                self._forget_turns(actor)
                if len(deaths) > RESTARTS_MAX:
                    actor.broken = error
                    await self._read_anew(actor)  # nothing will run, but what checkpoints write of it must be true
                    if self._shell.news is not None:
                        self._shell.news.set()  # whoever waits for the queues to come to rest need not wait for this one
                    await self._refuse(actor, error)
                    return
                await trio.sleep(_PAUSES[min(len(deaths), len(_PAUSES)) - 1])
                await self.restart(actor)

    async def restart(self, actor: QueueActor) -> None:
        """Rebuild the actor's state from what is durable and take charge again."""
        await self._read_anew(actor)
        actor.open(self._shell.boot, frozenset(), crashed=False)
        self._shell.dependencies.look_again(actor)

    async def _read_anew(self, actor: QueueActor) -> None:
        shell = self._shell
        actor.stop_attempts()
        shell.checkpoint.encode_all()  # a running checkpoint must not meet the state read anew
        await shell.writer.settled()
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

    async def _refuse(self, actor: QueueActor, error: BaseException) -> None:
        """A broken queue answers everything with the reason, until the engine closes."""
        while True:
            actor.break_off(self._broken(shown_name(actor.name), error))
            await actor.woken()

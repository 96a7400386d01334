"""One life of a simulated process: a production engine on a disk, a clock and a source of randomness that belong to a world.

Nothing else of the engine is replaced (`Engine(store=, clock=, threads=, entropy=)` are its public parameters); a test says so.  The
contexts of handlers are production's, and tell the world of durable steps (sim/steps.py).

Death.  trio cannot drop a task, it must unwind it, so `finally` blocks of handlers and of the engine do run after a crash (DECISIONS 37).
What they do to the journal goes nowhere: the boot's view of the disk is dead before anything unwinds.  The engine's own end is the
production one for a journal that fails (law 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from journeyman.engine import Engine, JourneymanError, Queue
from journeyman.journal.errors import JournalError
from journeyman.sim.disk import BootStore, Disk
from journeyman.sim.inline import InlineThreads
from journeyman.sim.steps import TellingContext

if TYPE_CHECKING:
    from journeyman.sim.world import World


@dataclass(frozen=True, slots=True)
class Machine:
    """What outlives a boot: the disk, and how its engines are made."""

    path: str
    disk: Disk
    options: dict[str, Any]


class Boot:
    """`number` counts the boots of a world from 1."""

    def __init__(self, world: World, machine: Machine, number: int, queues: Sequence[Queue]) -> None:
        self.world = world
        self.machine = machine
        self.number = number
        self.queues = queues
        self.store = BootStore(machine.disk, self)
        self.engine = Engine(
            None,
            queues,
            store=self.store,
            clock=world.clock,
            threads=InlineThreads(self.store),
            entropy=Random(f"{world.seed}-ids-{number}").randbytes,
            **machine.options,
        )
        vars(self.engine)["_context_kind"] = TellingContext
        self.dead = False
        self.open = False
        self.failure: BaseException | None = None  # what ended it, unless it was a crash or an orderly close
        self.calls: set[trio.CancelScope] = set()  # of calls from outside that are under way
        self.over = trio.Event()  # dead, or ended
        self.started = trio.Event()
        self._leaving = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """From power-on to the end, however it comes.  Never raises."""
        self.world.pulse.claim(self)
        try:
            with self._scope:
                async with self.engine:
                    if not self.dead:
                        self.open = True
                        self.started.set()
                        self.world.booted(self)
                    await self._leaving.wait()
                    self.world.closing(self)
        except trio.Cancelled:
            raise  # the world itself ends
        except Exception as error:
            if not self.dead:
                self.failure = error
        finally:
            self.open = False
            self.started.set()
            self.over.set()
            self.world.boots.remove(self)  # nothing of it is left

    def leave(self) -> None:
        """Close in good order."""
        self._leaving.set()

    def die(self) -> None:
        """No line of this boot has any effect from here on.  Call `fall` next."""
        self.dead = True
        self.open = False

    def fall(self) -> None:
        """Let go of everything: commits under way, callers, tasks."""
        self.store.die()
        for scope in list(self.calls):
            scope.cancel()
        self._scope.cancel()
        self.over.set()

    def forget_ends(self) -> None:
        """A power cut took back a commit: what handles remember of tasks that ended in this boot may never have happened."""
        session = self.engine._session
        for keepsake in session.shell.keepsakes.all() if session is not None else ():
            keepsake.task = None

    @property
    def fault_of_ours(self) -> bool:
        """Whether it failed of something the world did to it: then it is started again, as any supervisor of processes would."""
        struck = self.world.dice.struck
        return isinstance(self.failure, JournalError) and any(struck[name] for name in ("disk_full", "read_error", "bit_flip"))


def error_of(boot: Boot) -> BaseException:
    """Why a boot could not be opened."""
    return boot.failure or JourneymanError("the engine ended before it was open")

"""Plain `def` handlers in simulation: run at once, on the loop, in order (DECISIONS 25).

Nothing else can happen while one of them runs, so it takes no virtual time and cannot time out; what it blocks on really blocks.  A
watchdog says so when a handler has kept the simulation waiting: a `time.sleep(30)` in a handler is thirty seconds of yours.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from journeyman.actors.apart import Ended, Job, Say, carry_out
from journeyman.actors.threads import asked_from_a_thread
from journeyman.sim.errors import EngineCrashed
from journeyman.sim.scheduler import in_line

if TYPE_CHECKING:
    from journeyman.actors.call import Call
    from journeyman.actors.queue_actor import QueueActor
    from journeyman.sim.disk import BootStore

T = TypeVar("T")

PATIENCE: Final = 10.0  # real seconds before the watchdog speaks


class InlineThreads:
    """The thread runner of a simulated engine.  `store`: its boot's view of the disk."""

    def __init__(self, store: BootStore) -> None:
        self._store = store
        self._depth = 0
        self._thread = threading.get_ident()

    @property
    def inside(self) -> bool:
        return self._depth + in_line.depth > 0 and threading.get_ident() == self._thread

    async def run(self, work: Callable[[], Any], abandoned: Callable[[], None]) -> Any:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:  # it will never begin
            abandoned()
            raise
        _watchdog.enter()
        self._depth += 1
        try:
            return work()
        finally:
            self._depth -= 1
            _watchdog.leave()

    def ask(self, actor: QueueActor, token: trio.lowlevel.TrioToken, begin: Callable[[], Call[T]]) -> T:
        """No virtual time can pass while who asks stands on the loop, so what the answer waits for is written at once; the process can die
        before and after each of these commits, as anywhere.
        """
        if not self.inside:
            return asked_from_a_thread(token, begin)
        call = begin()
        if not call.settled and actor.backlog and not actor.doubtful and actor.resting is None:
            try:
                actor.step()
            except Exception as error:  # a bug, as where the actor takes its step itself
                actor.crash(error)
        writer = actor.shell.writer
        while not call.settled and (self._store.write_now() or writer.take_in()):
            pass
        if not call.settled:
            raise EngineCrashed("the simulated process died while a def handler waited for a commit")
        return call.unwrap()

    async def apart(self, job: Job, say: Say, nursery: trio.Nursery) -> Ended:
        """In line as well: the call, its result and its errors are packed and unpacked as for a process."""
        return await self.run(lambda: carry_out(job, say), lambda: None)  # type: ignore[no-any-return]


class _Watchdog:
    """One real thread, which looks every few seconds whether some handler is still in the same call."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._thread: threading.Thread | None = None

    def enter(self) -> None:
        self._since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="journeyman-sim-watchdog", daemon=True)
            self._thread.start()

    def leave(self) -> None:
        self._since = None

    def _watch(self) -> None:
        told: float | None = None
        while True:
            time.sleep(PATIENCE / 4)
            since = self._since
            if since is not None and since != told and time.monotonic() - since > PATIENCE:
                told = since
                sys.stderr.write(
                    f"journeyman.sim: a plain def handler has kept the simulation waiting for {PATIENCE:.0f} real seconds. Simulated def "
                    "handlers run in line and take no virtual time; they cannot time out. Make the handler async and use trio.sleep, "
                    "or give it something quicker to call.\n"
                )


_watchdog = _Watchdog()

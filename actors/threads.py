"""Where plain `def` handlers run: the thread-runner seam (DECISIONS 16 and 25), which knows of processes too (processes.py).

Real threads cannot be killed.  When an attempt is abandoned (time-out, or a stop that waits no longer) its thread goes on as a *straggler*:
it keeps its slot until it ends, so the next attempt of the task cannot run beside it.  trio's default limiter of 40 threads would cap every
queue's concurrency from outside, so the runner has a limiter of its own that never says no: the queues' slots are the limit.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio

from journeyman.actors.apart import Ended, Job, Say
from journeyman.actors.call import Call

if TYPE_CHECKING:
    from journeyman.actors.processes import Processes
    from journeyman.actors.queue_actor import QueueActor

T = TypeVar("T")


class ThreadRunner(Protocol):
    """The seam: real threads and processes, or inline in simulation."""

    async def run(self, work: Callable[[], Any], abandoned: Callable[[], None]) -> Any:
        """Run `work` to its end and return or raise what it does.

        Cancelled, it raises at once and calls `abandoned()` when the work has really ended: on the loop's thread, or on the
        work's own if the loop is gone by then.
        """
        ...

    def ask(self, actor: QueueActor, token: trio.lowlevel.TrioToken, begin: Callable[[], Call[T]]) -> T:
        """From within `work`, or from another thread of a handler's: put a question to `actor` on the loop, and wait for its answer.

        `token`: of the loop.  trio.RunFinishedError if that is gone.
        """
        ...

    @property
    def inside(self) -> bool:
        """Whether `work` runs on the loop's thread right now, so that who asks here must not await."""
        ...

    async def apart(self, job: Job, say: Say, nursery: trio.Nursery) -> Ended:
        """Carry `job` out in a process of its own, which a cancel kills; `say` hears what the handler says meanwhile.  `nursery` lives as
        long as the engine.
        """
        ...


class RealThreads:
    inside = False

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(math.inf)
        self._processes: Processes | None = None

    async def apart(self, job: Job, say: Say, nursery: trio.Nursery) -> Ended:
        if self._processes is None:
            from journeyman.actors.processes import Processes

            self._processes = Processes()
        return await self._processes.run(job, say, nursery)

    async def run(self, work: Callable[[], Any], abandoned: Callable[[], None]) -> Any:
        token = trio.lowlevel.current_trio_token()
        fate = _Fate()

        def in_thread() -> Any:
            if not fate.begin():
                return None
            try:
                return work()
            finally:
                if fate.end():
                    try:
                        token.run_sync_soon(abandoned)
                    except trio.RunFinishedError:
                        abandoned()  # the loop is gone; only the journal's lock still waits for this thread

        try:
            return await trio.to_thread.run_sync(in_thread, abandon_on_cancel=True, limiter=self._limiter)
        except trio.Cancelled:
            if fate.leave():
                abandoned()
            raise

    def ask(self, actor: QueueActor, token: trio.lowlevel.TrioToken, begin: Callable[[], Call[T]]) -> T:
        return asked_from_a_thread(token, begin)


def asked_from_a_thread(token: trio.lowlevel.TrioToken, begin: Callable[[], Call[T]]) -> T:
    """`begin` is called on the loop of `token`; the thread waits for the answer."""

    async def asked() -> T:
        return await begin().wait_through()

    return trio.from_thread.run(asked, trio_token=token)


class _Fate:
    """What became of a thread's work, agreed between the thread and the loop that may abandon it: exactly one of them tells its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._left = self._ended = False

    def begin(self) -> bool:
        """In the thread: whether to work at all; not if it was abandoned before."""
        with self._lock:
            self._begun = not self._left
            return self._begun

    def end(self) -> bool:
        """In the thread: whether it was abandoned meanwhile, and so has to tell."""
        with self._lock:
            self._ended = True
            return self._left

    def leave(self) -> bool:
        """On the loop: abandon it; whether it has ended already or will never begin, and so the loop has to tell."""
        with self._lock:
            self._left = True
            return self._ended or not self._begun

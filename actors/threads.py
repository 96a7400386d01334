"""Where plain `def` handlers run: the thread-runner seam (DECISIONS 16 and 25).

Real threads cannot be killed.  When an attempt is abandoned (time-out, or a stop that waits no longer) its thread goes on as a *straggler*:
it keeps its slot until it ends, so the next attempt of the task cannot run beside it.  trio's default limiter of 40 threads would cap every
queue's concurrency from outside, so the runner has a limiter of its own that never says no: the queues' slots are the limit.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, Protocol

import trio


class ThreadRunner(Protocol):
    """The seam: real threads, or inline in simulation."""

    async def run(self, work: Callable[[], Any], abandoned: Callable[[], None]) -> Any:
        """Run `work` to its end and return or raise what it does.

        Cancelled, it raises at once and calls `abandoned()` when the work has really ended: on the loop's thread, or on the
        work's own if the loop is gone by then.
        """
        ...


class RealThreads:
    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(math.inf)

    async def run(self, work: Callable[[], Any], abandoned: Callable[[], None]) -> Any:
        token = trio.lowlevel.current_trio_token()
        lock = threading.Lock()
        begun: bool = False
        left: bool = False
        finished: bool = False

        def in_thread() -> Any:
            nonlocal begun, finished
            with lock:
                if left:  # abandoned before it began, and told so
                    return None
                begun = True
            try:
                return work()
            finally:
                with lock:
                    finished = True
                    tell = left
                if tell:
                    try:
                        token.run_sync_soon(abandoned)
                    except trio.RunFinishedError:
                        abandoned()  # the loop is gone; only the journal's lock still waits for this thread

        try:
            return await trio.to_thread.run_sync(in_thread, abandon_on_cancel=True, limiter=self._limiter)
        except trio.Cancelled:
            with lock:
                left = True
                late = finished or not begun  # it ended before it could see `left`, or will never run
            if late:
                abandoned()
            raise

"""Plain `def` handlers in simulation: run at once, on the loop, in order (DECISIONS 25).

Nothing else can happen while one of them runs, so it takes no virtual time and cannot time out; what it blocks on really blocks.  A
watchdog says so when a handler has kept the simulation waiting: a `time.sleep(30)` in a handler is thirty seconds of yours.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import trio

from journeyman.actors.apart import Ended, Job, Say, carry_out

PATIENCE: Final = 10.0  # real seconds before the watchdog speaks


class InlineThreads:
    """The thread runner of a simulated engine."""

    async def run(self, work: Callable[[], Any], abandoned: Callable[[], None]) -> Any:
        await trio.lowlevel.checkpoint()
        _watchdog.enter()
        try:
            return work()
        finally:
            _watchdog.leave()

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

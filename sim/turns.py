"""A turn of trio's loop, without asking the operating system.

Problem.  At each turn trio asks the kernel for readable sockets, and a callback for the loop (each commit has one) is announced through a
socket pair: six system calls.  In a simulation there is nothing outside to hear of, and those calls took a sixth of a quiet week.
Choice: for the length of a simulated run the loop's wake-up is a flag, and the kernel is asked only where a socket waits or the loop is to
sleep.  When and in which order tasks go on is the same, turn by turn, so the digest is too.  Instruments are kept in a plain dict.

Where trio waits by other means than epoll, its I/O stays as it was.  `scheduler.check` proves at import that the private names used
here are still there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio


class Wakeup:
    """In place of trio's `WakeupSocketpair`: set by `run_sync_soon`, and it stays set until the task of the queue has gone on."""

    __slots__ = ("_io", "_pair", "asleep", "parked", "rung")

    def __init__(self, pair: Any, io: Any) -> None:
        self._pair = pair
        self._io = io
        self.asleep = False
        self.rung = False
        self.parked: trio.lowlevel.Task | None = None

    def wakeup_thread_and_signal_safe(self) -> None:
        self.rung = True
        if self.asleep:  # a signal, or a thread of the user's own
            self._io.force_wakeup()

    async def wait_woken(self) -> None:
        self.parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        self.rung = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self.parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    def close(self) -> None:
        self._pair.close()


class StillIO:
    """In place of trio's I/O manager, which it asks only where something is to be heard."""

    __slots__ = ("_io", "_wakeup")

    def __init__(self, io: Any, wakeup: Wakeup) -> None:
        self._io = io
        self._wakeup = wakeup

    def get_events(self, timeout: float) -> Sequence[Any]:
        wakeup = self._wakeup
        if timeout <= 0:
            return self._io.get_events(0) if self._io._registered else ()
        wakeup.asleep = True
        try:
            if wakeup.rung:
                timeout = 0
            return self._io.get_events(timeout)  # type: ignore[no-any-return]
        finally:
            wakeup.asleep = False

    def process_events(self, events: Sequence[Any]) -> None:
        if events:
            self._io.process_events(events)
        wakeup = self._wakeup
        if wakeup.rung and wakeup.parked is not None:
            trio.lowlevel.reschedule(wakeup.parked)
            wakeup.parked = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._io, name)


class Hooks(dict[str, tuple[Callable[..., object], ...]]):
    """In place of trio's `Instruments`, a dict written in Python: what to call, by the name of the hook."""

    def __init__(self, instruments: Any) -> None:
        super().__init__()
        self._instruments = instruments
        self._follow()

    def call(self, name: str, *about: Any) -> None:
        for hook in self[name]:
            hook(*about)

    def add_instrument(self, instrument: trio.abc.Instrument) -> None:
        self._instruments.add_instrument(instrument)
        self._follow()

    def remove_instrument(self, instrument: trio.abc.Instrument) -> None:
        self._instruments.remove_instrument(instrument)
        self._follow()

    def _follow(self) -> None:
        self.clear()
        for name, instruments in self._instruments.data.items():
            if name != "_all":
                self[name] = tuple(getattr(instrument, name) for instrument in instruments)


def lighten(runner: Any) -> None:
    """For the run that has just begun."""
    runner.instruments = Hooks(runner.instruments)
    io = runner.io_manager
    if not isinstance(getattr(io, "_registered", None), dict) or not hasattr(io, "_epoll"):
        return
    wakeup = Wakeup(runner.entry_queue.wakeup, io)
    runner.entry_queue.wakeup = wakeup
    runner.io_manager = StillIO(io, wakeup)


__all__ = ["lighten"]

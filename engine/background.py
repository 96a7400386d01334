"""An engine for programs that are not trio: Flask, Django, scripts, and asyncio (FastAPI and others).

Problem.  An engine lives on a loop of trio; those programs have threads, or a loop of asyncio.  They must be able to open it where their
frameworks have hooks for that, call it from anywhere, and end in good order whatever way they end.

Choice.  `BackgroundEngine` runs the loop in a thread of its own (actors/bridge.py) and has the calls of `Engine` twice: its own methods
block, those of `.aio` are awaited on asyncio (engine/doors.py).  One object has one meaning for each name, so an application may use
both, as FastAPI with its `def` and `async def` routes does.  Opening and closing are steps too, written once for both.

- The thread is a daemon: a program that forgets to stop would otherwise never end.  It is stopped at the interpreter's exit instead,
  within the engine's grace, and a warning says so.
- An error or Ctrl-C that leaves the block stops without grace, as with `Engine`; so does one that interrupts `stop` itself.
- An engine that failed ends its thread.  The calls of that moment raise the failure, later ones EngineStopped with the failure as cause,
  and `stop` (or the end of the block) raises it, once.
- A forked child has no such thread: its calls are a RuntimeError that says to start after the fork.

Rejected: `async with` that gives the door of asyncio instead of the engine (the same name would block here and be awaited there).
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Literal, Self

import trio

from journeyman.actors.bridge import Bridge, Moment, Steps, drive_here, drive_there
from journeyman.actors.clock import Clock
from journeyman.actors.threads import ThreadRunner
from journeyman.engine.doors import AioDoor, AioHandle, BackgroundHandle, BlockingDoor, TookTooLong, Way
from journeyman.engine.engine import Engine, Namespace
from journeyman.engine.errors import EngineStopped
from journeyman.engine.limits import Limits
from journeyman.engine.queue import Queue
from journeyman.journal.store import Store
from journeyman.kernel.duration import Seconds, seconds

EXIT_SECONDS: Final = 15.0  # beyond the grace, for an engine that the interpreter's exit has to stop

_log = logging.getLogger("journeyman")


class _Life:
    """The thread of a BackgroundEngine, from start to stop, and again."""

    def __init__(self, engine: Engine, grace: float) -> None:
        self.engine = engine
        self._grace = grace
        self._pid = 0
        self._bridge: Bridge | None = None
        self._leave: trio.Event
        self._stopped_well = False
        self._lock = Lock()  # held for an instant only, by whoever begins
        self._told = False  # the failure, by `stop`

    # --- for the doors -------------------------------------------------------------------------------------------------

    def bridge(self) -> Bridge:
        """What calls go over.  EngineStopped while it is not open, RuntimeError where the call would wait for itself."""
        bridge = self._bridge
        if bridge is None:
            raise EngineStopped("this engine has not been started: use `with BackgroundEngine(...)`, `async with`, or start()")
        self._check_process()
        if bridge.inside:
            raise RuntimeError(
                "called on the engine's own loop, which would wait for itself: an async handler uses `await ctx.engine.submit(...)`"
            )
        return bridge

    @property
    def forked(self) -> bool:
        """Whether it was open in the process that this one was forked from, so that its thread is not here."""
        bridge = self._bridge
        return bridge is not None and self._pid != os.getpid() and not bridge.ended.passed

    def _check_process(self) -> None:
        if self.forked:
            raise RuntimeError(
                f"this engine was started in process {self._pid} and does not work in process {os.getpid()}, which was forked from it: "
                "start it after the fork, in one process (gunicorn: in post_fork, or without preload_app)"
            )

    # --- steps ---------------------------------------------------------------------------------------------------------

    def start(self, *, anew: bool = False) -> Steps[None]:
        """Open the engine, if it is not open.  Raises what entering an Engine raises.  anew: RuntimeError if it is open."""
        bridge, begun = self._begin()
        if anew and not begun:
            raise RuntimeError(
                "this BackgroundEngine is started already; make another object, on another path or after this one has stopped"
            )
        try:
            yield bridge.opened
        except GeneratorExit:  # interrupted just beside a wait: nobody will take further steps
            if begun:
                bridge.hurry()
            raise
        except BaseException:
            if begun:
                bridge.hurry()
                yield bridge.ended
            raise
        if bridge.ended.passed:
            bridge.join()
            self._told = True
            raise bridge.failure or EngineStopped("this engine was stopped while it started")

    def _begin(self) -> tuple[Bridge, bool]:
        """The thread, and whether it has been started by this call.  An interruption leaves one that can be stopped, or none."""
        self._check_process()
        with self._lock:
            bridge = self._bridge
            begun = bridge is None or bridge.ended.passed
            if bridge is None or begun:
                atexit.unregister(self.at_exit)
                atexit.register(self.at_exit)
                self._pid, self._told = os.getpid(), False
                bridge = self._bridge = Bridge("journeyman-engine", self._serve, _stopped)
            bridge.start()
            return bridge, begun

    def stop(self, grace: Seconds | None, *, raising: bool = True) -> Steps[bool]:
        """Stop the engine, if it is open.  raising: the failure that ended it, once."""
        if self._bridge is None:
            return True
        bridge = self.bridge()
        if bridge.withdraw():
            return True
        try:
            yield bridge.opened
            if not bridge.ended.passed:
                with suppress(EngineStopped):  # it ends already
                    yield from bridge.ask(partial(self._stop, grace))
                yield bridge.ended
        except GeneratorExit:
            bridge.hurry()
            raise
        except (RuntimeError, ValueError):
            raise  # refused: a grace that is none, a handler that would wait for itself
        except BaseException:
            bridge.hurry()
            yield bridge.ended
            raise
        bridge.join()
        atexit.unregister(self.at_exit)
        if bridge.failure is not None:
            told, self._told = self._told, True
            if raising and not told:
                raise bridge.failure
        return self._stopped_well and bridge.failure is None

    # --- on the loop ---------------------------------------------------------------------------------------------------

    async def _serve(self, opened: Moment) -> None:
        self._leave, self._stopped_well = trio.Event(), False
        async with self.engine:
            opened.come()
            await self._leave.wait()

    async def _stop(self, grace: Seconds | None) -> None:
        self._stopped_well = await self.engine.stop(grace)
        self._leave.set()

    # --- the interpreter's exit ------------------------------------------------------------------------------------------

    def at_exit(self) -> None:
        bridge = self._bridge
        if bridge is None or bridge.ended.passed or self._pid != os.getpid():
            return
        _log.warning("the engine was not stopped before the interpreter's exit; stopping it now")
        limit = self._grace + EXIT_SECONDS
        drive_here(self.stop(None), limit, lambda: TookTooLong(f"the engine did not stop within {limit:g} s; the next start recovers"))


def _stopped(failure: BaseException | None) -> BaseException:
    if failure is None:
        return EngineStopped("the engine is stopped; what was acknowledged is in the journal and goes on at the next start")
    error = EngineStopped(f"the engine has ended because of an error ({type(failure).__name__}: {failure}); it can be started again")
    error.__cause__ = failure
    return error


class BackgroundEngine(BlockingDoor):
    """Durable tasks in one directory, for programs that are not trio.  Parameters, calls and errors are those of `Engine`.

    `with BackgroundEngine(path, queues=[...]) as engine:` in plain programs, `async with` in asyncio; start() and stop() where a framework
    has hooks.  Its own methods block and may be called from any thread; `.aio` has them for asyncio, from any of its loops.  Handlers are
    what they are for Engine: `async def` for trio, or a plain `def`, which runs in a thread.

    Opening raises JournalLocked, JournalCorrupt, JournalVersion, JournalFull, QueueExists, HandlerExists.  A call before the start or
    after the end raises EngineStopped; one on the engine's own loop, or in a forked child, RuntimeError.
    """

    def __init__(
        self,
        path: str | Path | None,
        queues: Iterable[Queue] = (),
        *,
        max_concurrency: int | None = None,
        durability: Literal["full", "relaxed"] = "full",
        grace: Seconds = 10.0,
        clock: Clock | None = None,
        store: Store | None = None,
        threads: ThreadRunner | None = None,
        entropy: Callable[[int], bytes] | None = None,
        allow_unsafe_fs: bool = False,
    ) -> None:
        engine = Engine(
            path, queues, max_concurrency=max_concurrency, durability=durability, grace=grace, clock=clock,
            store=store, threads=threads, entropy=entropy, allow_unsafe_fs=allow_unsafe_fs,
        )  # fmt: skip
        self._life = _Life(engine, seconds(grace, "grace"))
        super().__init__(_way_of(self._life))
        self.aio = AioEngine(self._life)

    def start(self) -> Self:
        """Open the engine and return when it works; nothing happens if it is open.  Raises what entering an Engine raises."""
        drive_here(self._life.start())
        return self

    def stop(self, grace: Seconds | None = None) -> bool:
        """Stop it: start nothing new, wait `grace` seconds (default: the engine's), tell the rest to end, uncharged.

        True if everything that was running could finish.  The journal is free afterwards, unless a thread does not end.  Raises, once, the
        failure that ended the engine, if one did.  Stopping again does nothing; an interruption (Ctrl-C) cuts the grace short.
        """
        return drive_here(self._life.stop(grace))

    def namespace(self, name: str, *, max_concurrency: int | None = None, limits: Limits | None = None) -> BackgroundNamespace:
        """As `Engine.namespace`: a door for a plugin."""
        return BackgroundNamespace(self._life, self._ask(partial(_namespace, self._life.engine, name, max_concurrency, limits)))

    def __enter__(self) -> Self:
        drive_here(self._life.start(anew=True))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._life.forked:
            drive_here(self._life.stop(None if error is None else 0, raising=error is None))

    async def __aenter__(self) -> Self:
        await drive_there(self._life.start(anew=True))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await drive_there(self._life.stop(None if error is None else 0, raising=error is None))


class AioEngine(AioDoor):
    """The calls of a BackgroundEngine for asyncio.  Made as its `.aio`."""

    def __init__(self, life: _Life) -> None:
        self._life = life
        super().__init__(_way_of(life))

    async def start(self) -> Self:
        """As `BackgroundEngine.start`."""
        await drive_there(self._life.start())
        return self

    async def stop(self, grace: Seconds | None = None) -> bool:
        """As `BackgroundEngine.stop`; cancelled, it cuts the grace short."""
        return await drive_there(self._life.stop(grace))

    async def namespace(self, name: str, *, max_concurrency: int | None = None, limits: Limits | None = None) -> BackgroundNamespace:
        """As `Engine.namespace`: a door for a plugin."""
        return BackgroundNamespace(self._life, await self._ask(partial(_namespace, self._life.engine, name, max_concurrency, limits)))


class BackgroundNamespace(BlockingDoor):
    """A plugin's door to a BackgroundEngine: its own methods block, those of `.aio` are awaited.  See `Namespace`."""

    def __init__(self, life: _Life, namespace: Namespace) -> None:
        way = Way(life.bridge, namespace)
        super().__init__(way)
        self.name = namespace.name
        self.aio = AioDoor(way)


def _way_of(life: _Life) -> Way:
    return Way(life.bridge, life.engine)


async def _namespace(engine: Engine, name: str, max_concurrency: int | None, limits: Limits | None) -> Namespace:
    return engine.namespace(name, max_concurrency=max_concurrency, limits=limits)


__all__ = [
    "AioDoor",
    "AioEngine",
    "AioHandle",
    "BackgroundEngine",
    "BackgroundHandle",
    "BackgroundNamespace",
    "BlockingDoor",
    "TookTooLong",
]

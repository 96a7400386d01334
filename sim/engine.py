"""The engine that a scenario holds: one object over many boots.

Problem.  A scenario plays the outside world.  It must survive crashes of the process it talks to, be told when a call was cut off, and keep
its handles.  Choice: `SimEngine` is an `Engine` whose open session is that of whatever boot is alive.  Every call goes through production
code; this class only adds the fate of a call (`EngineCrashed`), the patience of `wait` and `result`, and the restarts.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import trio

from journeyman.actors.attempt import Attempt
from journeyman.actors.keepsake import Keepsake
from journeyman.engine import Engine, EngineStopped, EventFeed, FeedEvent, Namespace, Queue, Task
from journeyman.engine.engine import Door
from journeyman.engine.feed import Since
from journeyman.engine.limits import Limits, Terms
from journeyman.engine.scope import Scope
from journeyman.journal.errors import JournalError, JournalLocked
from journeyman.journal.feed import Cursor
from journeyman.kernel.duration import Seconds
from journeyman.sim.boot import Boot, Machine, error_of
from journeyman.sim.capture import Captured, capture, forget, listen
from journeyman.sim.disk import dead_handler_speaks
from journeyman.sim.errors import EngineCrashed
from journeyman.sim.feed import SimFeed

if TYPE_CHECKING:
    from journeyman.sim.world import World

# Every call that may be under way when the process dies.
CALLS = (
    "submit", "submit_many", "get", "list", "count", "stats", "explain", "history", "cancel", "retry", "retry_all", "clear", "prune",
    "pause", "resume", "configure", "drain", "create_queue", "reschedule", "reprioritise", "cancel_all",
    "reschedule_all", "reprioritise_all", "schedule", "unschedule", "schedules", "preview", "measures",
    "commit_transaction", "value", "values",
)  # fmt: skip


class SimEngine(Engine):
    """Made by `world.engine(...)`; used like any Engine.

    While the process is down its calls raise EngineCrashed; `Handle.wait` and `Handle.result` wait for its return and go on.
    """

    def __init__(self, world: World, machine: Machine, queues: Callable[[], Sequence[Queue]]) -> None:
        super().__init__(None, (), **machine.options)
        self._world = world
        self.machine = machine
        self._source = queues
        self._boot: Boot | None = None
        self._wanted = False  # between entering and leaving
        self._life = trio.CancelScope()
        self._captures: list[Captured] = []
        self._news = trio.Event()  # replaced whenever a boot has come up or the engine was left

    # --- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        world = self._world
        if self._wanted:
            raise RuntimeError("this Engine is already entered; make another object, on another path or after this one has been left")
        if any(other is not self and other._wanted and other.machine.disk is self.machine.disk for other in world.engines):
            raise JournalLocked(f"the simulated journal {self.machine.path!r} is open in another engine of this world")
        self._wanted = True
        self._life = trio.CancelScope()
        failed: list[BaseException] = []
        world.nursery.start_soon(self._live, failed)
        try:
            while not self.up and not failed:
                await self._news.wait()
        except BaseException:  # a cancel: nobody will leave what nobody entered
            with trio.CancelScope(shield=True):
                await self._close()
            raise
        if failed:
            self._wanted = False
            self._boot = None
            raise failed[0]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with trio.CancelScope(shield=True):
            await self._close()

    async def stop(self, grace: Seconds | None = None) -> bool:
        """As `Engine.stop`.  EngineCrashed if the process dies meanwhile."""
        boot = self._alive()
        return bool(await self._call(boot, "stop", lambda: boot.engine.stop(grace)))

    async def _close(self) -> None:
        self._wanted = False
        boot = self._boot
        self._life.cancel()
        if boot is not None:
            boot.leave()
            await boot.over.wait()
        self._boot = None
        self._tell()

    async def _live(self, failed: list[BaseException]) -> None:
        """Boot after boot, until the engine is left."""
        world = self._world
        entered = False
        with self._life:
            while self._wanted:
                try:
                    boot = self._boot = world.boot(self.machine, self._release())
                except Exception as error:  # of the queues or the options that the scenario gives
                    if self._boot is not None:
                        world.give_up(error)
                    failed.append(error)  # for the scenario, which enters
                    self._tell()
                    return
                for captured in self._captures:
                    listen(boot.engine, captured, self)
                world.nursery.start_soon(boot.run)
                await boot.started.wait()
                entered = entered or boot.failure is None
                self._tell()
                await boot.over.wait()
                if world.failure is not None:
                    return
                if not boot.dead and boot.failure is not None:
                    world.note("down", f"{type(boot.failure).__name__}: {boot.failure}")
                    if not boot.fault_of_ours:
                        failed.append(error_of(boot))
                        self._tell()
                        if entered:  # before that it is for the scenario, which enters
                            world.give_up(error_of(boot))
                        return
                elif not boot.dead:
                    return  # stopped in good order
                await world.sleep(world.faults.restart)

    def _release(self) -> tuple[Queue, ...]:
        """What the next boot is given."""
        try:
            return tuple(self._source())
        except StopIteration as error:  # no coroutine can raise it
            raise RuntimeError(
                "queues= has no release left: it is called at each boot, and there may be more boots than releases"
            ) from error

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # --- calls --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def capture(self) -> Iterator[Captured]:
        """As `journeyman.sim.capture(engine)`; hears also what handlers submit through their context, in every boot."""
        with capture(self) as captured:
            self._captures.append(captured)
            if self._boot is not None:
                listen(self._boot.engine, captured, self)
            try:
                yield captured
            finally:
                self._captures.remove(captured)
                for boot in self._world.boots:
                    forget(boot.engine, captured)

    @property
    def entered(self) -> bool:
        """Whether a scenario is inside its block, be the process up or down."""
        return self._wanted

    @property
    def up(self) -> bool:
        """Whether the process lives and takes calls."""
        return self._boot is not None and self._boot.open

    async def ready(self) -> None:
        """Wait until the process is up (again)."""
        while not self.up:
            await self._news.wait()
        await trio.lowlevel.checkpoint()

    def _alive(self) -> Boot:
        boot = self._boot
        if not self._wanted or boot is None:
            raise EngineStopped("this engine is not open; use it inside `async with world.engine(...) as engine`")
        if dead_handler_speaks():
            raise EngineCrashed("the simulated process of this handler is dead; what its `finally` blocks still ask for is not heard")
        if not boot.open:
            raise EngineCrashed("the simulated process is down; it is started again after Faults(restart=...) seconds")
        return boot

    def _opened(self) -> Scope:
        return self._alive().engine._opened()

    async def _call(self, boot: Boot, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """One call to `boot`, which may die under it."""
        scope = trio.CancelScope()
        boot.calls.add(scope)
        try:
            with scope:
                return await call()
        except Exception as error:
            if boot.dead and not isinstance(error, EngineCrashed):
                raise EngineCrashed(f"the process died during {name}(): its outcome is unknown") from error
            raise
        finally:
            boot.calls.discard(scope)
        raise EngineCrashed(f"the process died during {name}(): its outcome is unknown")

    def opened_anew(self) -> EngineCrashed:
        return EngineCrashed("the simulated process died during this transaction; nothing of it was written")

    if TYPE_CHECKING:

        def namespace(self, name: str, *, max_concurrency: int | None = None, limits: Limits | None = None) -> SimNamespace: ...

    # For feeds, which are calls that last (sim/feed.py).

    def _feed(self, scope: Scope, since: Since, queue: str | None) -> EventFeed:
        return SimFeed(self, self._alive(), scope, since, queue)

    def told(self, feed: SimFeed, place: Cursor, said: FeedEvent | Exception) -> None:
        self._world.watch.told(self, feed, place, said)

    def _plugin(self, terms: Terms) -> SimNamespace:
        return SimNamespace(self, terms)

    async def wait_for(
        self, task_id: bytes, timeout: float | None, pending_in: Attempt | None = None, keepsake: Keepsake | None = None
    ) -> Task:
        """For `Handle.wait`: goes on in the next boot if the process dies."""
        return await self.wait_as(self, task_id, timeout, pending_in, keepsake)

    async def wait_as(
        self, door: Door, task_id: bytes, timeout: float | None, pending_in: Attempt | None, keepsake: Keepsake | None
    ) -> Task:
        """Of `door`, this engine or one of its namespaces."""
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        asked = self._world.asked(self, "wait", (task_id,), {}, door)
        try:
            task = await self._ended(door, task_id, deadline, pending_in, keepsake)
        except BaseException:
            self._world.abandoned(asked)
            raise
        self._world.answered(asked, task, None)
        return task

    async def _ended(self, door: Door, task_id: bytes, deadline: float, pending_in: Attempt | None, keepsake: Keepsake | None) -> Task:
        """Until it has ended, in this boot or a later one.  `deadline` is on trio's clock, and as in production a limit on waiting only."""
        while True:
            boot = self._boot
            try:
                alive = self._alive()
                # What a handle keeps of an end is memory of the process that made it, and a power cut may have taken that end back.
                kept = keepsake if keepsake and alive.engine._opened().shell.keepsakes.knows(task_id, keepsake) else None
                left = None if deadline == math.inf else max(0.0, deadline - trio.current_time())
                waiting = functools.partial(Door.wait_for, door, task_id, left, pending_in, kept)
                task: Task = await self._call(alive, "wait", waiting)
                return task
            except (EngineCrashed, EngineStopped, JournalError):
                if not (boot is not None and boot.store.failed) and (not self._wanted or (boot is not None and boot.open)):
                    raise
                with trio.fail_at(deadline):
                    if boot is not None and boot.store.failed:
                        await boot.over.wait()
                    if not self.up:
                        await self._news.wait()


class SimNamespace(Namespace):
    """A plugin's door to a SimEngine: its calls meet the same fates.  Its queues are gone at each boot, as its code is."""

    _engine: SimEngine

    def _feed(self, scope: Scope, since: Since, queue: str | None) -> EventFeed:
        return self._engine._feed(scope, since, queue)

    def opened_anew(self) -> EngineCrashed:
        return self._engine.opened_anew()

    def capture(self) -> contextlib.AbstractContextManager[Captured]:
        """As `journeyman.sim.capture(namespace)`: what is submitted through this door; not what handlers submit through their context."""
        return capture(self)

    async def wait_for(
        self, task_id: bytes, timeout: float | None, pending_in: Attempt | None = None, keepsake: Keepsake | None = None
    ) -> Task:
        return await self._engine.wait_as(self, task_id, timeout, pending_in, keepsake)


def _guarded(name: str) -> Callable[..., Any]:
    production = getattr(Engine, name)

    @functools.wraps(production)
    async def call(self: SimEngine | SimNamespace, /, *args: Any, **kwargs: Any) -> Any:
        engine = self if isinstance(self, SimEngine) else self._engine
        boot = engine._alive()
        if name == "create_queue":
            engine._world.created(*args, *kwargs.values())
        asked = engine._world.asked(engine, name, args, kwargs, self)
        try:
            answer = await engine._call(boot, name, lambda: production(self, *args, **kwargs))
        except Exception as error:
            engine._world.answered(asked, None, error)
            raise
        except BaseException:
            engine._world.abandoned(asked)
            raise
        engine._world.answered(asked, answer, None)
        return answer

    return call


for _name in CALLS:
    setattr(SimEngine, _name, _guarded(_name))
    setattr(SimNamespace, _name, _guarded(_name))

"""The calls of an engine for those who are not on its loop: `BlockingDoor` for plain threads, `AioDoor` for asyncio.

Problem.  Two more doors with thirty calls each would be three signatures to keep in step.  Choice: `Door` is the only description.
`blocking` and `awaited` make a method of a door from the coroutine method of the same name, with its parameters, types and docstring
(type checkers see them through a ParamSpec); only what answers with a handle is written out, for its handles are of the door's own kind.
tests/engine/test_doors.py finds a call that one of them lacks.

What is handed out has been read on the loop: a Task holds its arguments and result, so it can go to any thread and outlives the engine.

Rejected: `__getattr__` (no types, no completion), generated source (a file that nobody wants to read).
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, Self, TypeVar, cast, overload

import trio

from journeyman.actors.bridge import Bridge, Steps, drive_here, drive_there
from journeyman.engine.engine import Door
from journeyman.engine.errors import EngineStopped
from journeyman.engine.handle import Handle
from journeyman.engine.handler import NamedHandler, named_handler
from journeyman.engine.spec import Item, Submittable
from journeyman.engine.task import Task
from journeyman.kernel.duration import Seconds, seconds

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_READ_AT_ONCE = 64  # tasks whose arguments are read before the loop's other work has a turn


class TookTooLong(trio.TooSlowError, TimeoutError):
    """A wait came to its `timeout`.  A trio.TooSlowError, as the engine says, and a TimeoutError, as the rest of Python does."""


class Way(NamedTuple):
    """From a door of ours to one on the loop.  bridge: the one to go over now; raises where there is none."""

    bridge: Callable[[], Bridge]
    door: Door

    def ask(self, work: Callable[[], Awaitable[R]]) -> Steps[R]:
        """What `work` says on the loop."""
        bridge = self.bridge()
        if not bridge.opened.passed:
            yield bridge.opened  # another thread has just started it
        try:
            return (yield from bridge.ask(work))
        except EngineStopped as error:
            if error.__cause__ is None and bridge.failure is not None:
                raise bridge.gone() from bridge.failure  # it came between the failure and the end
            raise
        except trio.TooSlowError as error:
            if isinstance(error, TookTooLong):
                raise
            raise TookTooLong("it took longer than its timeout") from None


# --- methods from methods -----------------------------------------------------------------------------------------------------


class Blocking(Protocol[P, R_co]):
    """A method of a BlockingDoor, as type checkers see it."""

    @overload
    def __get__(self, door: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, door: object, owner: Any = None) -> Callable[P, R_co]: ...


class Awaited(Protocol[P, R_co]):
    """A method of an AioDoor, as type checkers see it."""

    @overload
    def __get__(self, door: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, door: object, owner: Any = None) -> Callable[P, Coroutine[Any, Any, R_co]]: ...


def blocking(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Blocking[P, R]:
    """`method` of Door, as a plain method that blocks until it is done."""

    @functools.wraps(method)
    def call(self: BlockingDoor, /, *args: Any, **kwargs: Any) -> Any:
        return self._ask(partial(method, self._way.door, *args, **kwargs))

    return cast("Blocking[P, R]", call)


def awaited(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Awaited[P, R]:
    """`method` of Door, as a coroutine method for asyncio."""

    @functools.wraps(method)
    async def call(self: AioDoor, /, *args: Any, **kwargs: Any) -> Any:
        return await self._ask(partial(method, self._way.door, *args, **kwargs))

    return cast("Awaited[P, R]", call)


def _read(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, list[Task]]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, list[Task]]]:
    """`method` with its tasks read: from another thread the journal is out of reach."""

    @functools.wraps(method)
    async def read(door: Any, /, *args: P.args, **kwargs: P.kwargs) -> list[Task]:
        found = await method(door, *args, **kwargs)
        for number, task in enumerate(found, 1):
            task.read()
            if number % _READ_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        return found

    return read


_list = _read(Door.list)


async def _tally(door: Door) -> None:
    """As `Engine.tally`: count from now on what `measures` tells of tasks and attempts."""
    door.tally()


# --- the blocking door --------------------------------------------------------------------------------------------------------


class BlockingDoor:
    """The calls of an engine for plain threads, any number of them at once: each blocks until it is done, and raises what `Engine` raises.

    `wait`, `result` and `drain` take a `timeout` in seconds (TookTooLong); `within(seconds)` puts one on any other call.
    """

    def __init__(self, way: Way, limit: float | None = None) -> None:
        self._way = way
        self._limit = limit

    def _ask(self, work: Callable[[], Awaitable[R]]) -> R:
        """For the door's own calls: what `work` says on the engine's loop."""
        return drive_here(self._way.ask(work), self._limit, self._late)

    def _late(self) -> BaseException:
        return TookTooLong(
            f"no answer within {self._limit:g} s; what was asked may still be done: with id= a submit can be repeated safely"
        )

    def within(self, limit: Seconds) -> BlockingDoor:
        """This door, with calls that raise TookTooLong when there is no answer within `limit` seconds (or a timedelta).  What was asked may
        have been done all the same."""
        return BlockingDoor(self._way, seconds(limit, "limit"))

    @overload
    def submit(self, handler: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> BackgroundHandle[R]: ...
    @overload
    def submit(self, handler: str, /, *args: Any, **kwargs: Any) -> BackgroundHandle[Any]: ...
    def submit(self, handler: Any, /, *args: Any, **kwargs: Any) -> BackgroundHandle[Any]:
        """As `Engine.submit`: record a task and return when it is durable.

        Interrupted (Ctrl-C, SystemExit from a signal), the caller cannot know whether the task exists; with `id=` it can ask again safely.
        """
        return BackgroundHandle(self._way, self._ask(partial(self._way.door.submit, handler, *args, **kwargs)))

    def submit_many(self, items: Iterable[Item]) -> _BackgroundHandles:
        """As `Engine.submit_many`: many tasks in one commit, all or none."""
        return [BackgroundHandle(self._way, each) for each in self._ask(partial(self._way.door.submit_many, list(items)))]

    def handler(self, name: str, queue: str) -> NamedHandler:
        """As `Engine.handler`: a handler of `queue` by name."""
        return named_handler(name, queue)

    wait = blocking(Door.wait)
    get = blocking(Door.get)
    list = blocking(_list)
    count = blocking(Door.count)
    stats = blocking(Door.stats)
    measures = blocking(Door.measures)
    tally = blocking(_tally)
    explain = blocking(Door.explain)
    history = blocking(Door.history)
    cancel = blocking(Door.cancel)
    retry = blocking(Door.retry)
    reschedule = blocking(Door.reschedule)
    reprioritise = blocking(Door.reprioritise)
    cancel_all = blocking(Door.cancel_all)
    retry_all = blocking(Door.retry_all)
    reschedule_all = blocking(Door.reschedule_all)
    reprioritise_all = blocking(Door.reprioritise_all)
    clear = blocking(Door.clear)
    prune = blocking(Door.prune)
    pause = blocking(Door.pause)
    resume = blocking(Door.resume)
    configure = blocking(Door.configure)
    create_queue = blocking(Door.create_queue)
    drain = blocking(Door.drain)
    schedule = blocking(Door.schedule)
    unschedule = blocking(Door.unschedule)
    schedules = blocking(Door.schedules)
    preview = blocking(Door.preview)
    value = blocking(Door.value)
    values = blocking(Door.values)


class BackgroundHandle(Generic[R]):
    """A submitted task, held by a plain thread.  `id` is all that is needed to find it again: `engine.get(id)`, `engine.wait(id)`."""

    __slots__ = ("_handle", "_way")

    def __init__(self, way: Way, handle: Handle[R]) -> None:
        self._way = way
        self._handle = handle

    @property
    def id(self) -> str:
        return self._handle.id

    def __repr__(self) -> str:
        return f"<BackgroundHandle {self.id}>"

    def wait(self, timeout: Seconds | None = None) -> Task:
        """As `Handle.wait`: the task once it has ended, however it ended.  TookTooLong after `timeout` (seconds, or a timedelta)."""
        return drive_here(self._way.ask(partial(self._handle.wait, timeout)))

    def result(self, timeout: Seconds | None = None) -> R:
        """As `Handle.result`: what the handler returned; TaskFailed, TaskCancelled, and what `wait` raises."""
        return drive_here(self._way.ask(partial(self._handle.result, timeout)))

    def cancel(self, reason: str = "", *, running: bool = True) -> None:
        """As `Engine.cancel`."""
        drive_here(self._way.ask(partial(self._handle.cancel, reason, running=running)))


# --- the door of asyncio ------------------------------------------------------------------------------------------------------


class AioDoor:
    """The calls of an engine for asyncio, from any number of its loops at once: each is awaited, and raises what `Engine` raises.

    A call whose task is cancelled is given up: a wait ends there; of a submit it cannot be known whether the task exists (`id=` makes
    asking again safe).  asyncio.timeout() works as with anything else.
    """

    def __init__(self, way: Way) -> None:
        self._way = way

    async def _ask(self, work: Callable[[], Awaitable[R]]) -> R:
        """For the door's own calls: what `work` says on the engine's loop."""
        return await drive_there(self._way.ask(work))

    @overload
    async def submit(self, handler: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AioHandle[R]: ...
    @overload
    async def submit(self, handler: str, /, *args: Any, **kwargs: Any) -> AioHandle[Any]: ...
    async def submit(self, handler: Any, /, *args: Any, **kwargs: Any) -> AioHandle[Any]:
        """As `Engine.submit`: record a task and return when it is durable."""
        return AioHandle(self._way, await self._ask(partial(self._way.door.submit, handler, *args, **kwargs)))

    async def submit_many(self, items: Iterable[Item]) -> _AioHandles:
        """As `Engine.submit_many`: many tasks in one commit, all or none."""
        return [AioHandle(self._way, each) for each in await self._ask(partial(self._way.door.submit_many, list(items)))]

    def handler(self, name: str, queue: str) -> NamedHandler:
        """As `Engine.handler`: a handler of `queue` by name."""
        return named_handler(name, queue)

    wait = awaited(Door.wait)
    get = awaited(Door.get)
    list = awaited(_list)
    count = awaited(Door.count)
    stats = awaited(Door.stats)
    measures = awaited(Door.measures)
    tally = awaited(_tally)
    explain = awaited(Door.explain)
    history = awaited(Door.history)
    cancel = awaited(Door.cancel)
    retry = awaited(Door.retry)
    reschedule = awaited(Door.reschedule)
    reprioritise = awaited(Door.reprioritise)
    cancel_all = awaited(Door.cancel_all)
    retry_all = awaited(Door.retry_all)
    reschedule_all = awaited(Door.reschedule_all)
    reprioritise_all = awaited(Door.reprioritise_all)
    clear = awaited(Door.clear)
    prune = awaited(Door.prune)
    pause = awaited(Door.pause)
    resume = awaited(Door.resume)
    configure = awaited(Door.configure)
    create_queue = awaited(Door.create_queue)
    drain = awaited(Door.drain)
    schedule = awaited(Door.schedule)
    unschedule = awaited(Door.unschedule)
    schedules = awaited(Door.schedules)
    preview = awaited(Door.preview)
    value = awaited(Door.value)
    values = awaited(Door.values)


class AioHandle(Generic[R]):
    """A submitted task, held by a coroutine of asyncio."""

    __slots__ = ("_handle", "_way")

    def __init__(self, way: Way, handle: Handle[R]) -> None:
        self._way = way
        self._handle = handle

    @property
    def id(self) -> str:
        return self._handle.id

    def __repr__(self) -> str:
        return f"<AioHandle {self.id}>"

    async def wait(self, timeout: Seconds | None = None) -> Task:
        """As `Handle.wait`: the task once it has ended, however it ended.  TookTooLong after `timeout` (seconds, or a timedelta)."""
        return await drive_there(self._way.ask(partial(self._handle.wait, timeout)))

    async def result(self, timeout: Seconds | None = None) -> R:
        """As `Handle.result`: what the handler returned; TaskFailed, TaskCancelled, and what `wait` raises."""
        return await drive_there(self._way.ask(partial(self._handle.result, timeout)))

    async def cancel(self, reason: str = "", *, running: bool = True) -> None:
        """As `Engine.cancel`."""
        await drive_there(self._way.ask(partial(self._handle.cancel, reason, running=running)))


# Within the classes `list` is a call of theirs.
_BackgroundHandles = list[BackgroundHandle[Any]]
_AioHandles = list[AioHandle[Any]]

__all__ = ["AioDoor", "AioHandle", "BackgroundHandle", "BlockingDoor", "TookTooLong", "Way"]

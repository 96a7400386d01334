"""Calls into a loop of trio from threads that are not its own: from plain ones, and from loops of asyncio.

Problem.  Flask, Django and asyncio programs have threads and loops that are not trio's.  Their calls must come back with the loop's own
answers and errors, whatever becomes of either side: the loop ends or fails, the caller is interrupted or cancelled, the process forks.
Nobody may hang.

Choice.  trio runs in one daemon thread.  A call is a `Request`, put into the loop by trio's token and settled once.  What a caller has to
do is written once, as a generator (`Steps`) that yields each `Moment` to wait for and gets thrown what interrupts the wait; `drive_here`
runs it by blocking the thread, `drive_there` by awaiting on asyncio.  Every request is in a set from before it is sent until it is
settled, and the thread settles what is left when it ends, so there is no instant at which one could be forgotten.  There are no locks:
appending to a deque, popping from it and the same of a set are single operations, and each side writes its own half before it looks at
the other's.

Requests run beside what the loop serves, not inside its scope: when an engine fails, each call that waits hears what the engine tells it,
not that it was cancelled.  A request bears the attempt whose handler made it, so that a call which would wait for its own handler is
refused.

Rejected: trio.from_thread.run (a caller that goes away cannot take its call along), anyio's portals (one more dependency for what is
here; they stop by cancelling), guest mode on asyncio's loop (two to five times slower, and every stall of the application's loop stops
the engine).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import trio

from journeyman.actors.attempt import current_attempt
from journeyman.kernel.errors import JourneymanError

T = TypeVar("T")

LAST_WORDS: Final = 2.0  # seconds that calls have, once the loop's service has ended, to hear what it told them


class Moment:
    """Something that comes once, and whoever wants to be told."""

    __slots__ = ("_tells", "passed")

    def __init__(self) -> None:
        self.passed = False
        self._tells: deque[Callable[[], object]] = deque()

    def tell(self, tell: Callable[[], object]) -> None:
        """Call `tell` once, when it comes, on whatever thread that is; at once if it has."""
        self._tells.append(tell)
        if self.passed:
            self._told()

    def come(self) -> None:
        self.passed = True
        self._told()

    def _told(self) -> None:
        with suppress(IndexError):
            while True:
                self._tells.popleft()()


Steps = Generator[Moment, None, T]


class Request(Moment, Generic[T]):
    """One call on its way into the loop and back."""

    __slots__ = ("_abandoned", "_error", "_inside", "_scope", "_trace", "_value", "_work")

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        super().__init__()
        self._work = work
        self._inside = current_attempt.get()
        self._scope: trio.CancelScope | None = None
        self._abandoned = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._trace: Any = None

    async def run(self, cut_off: Callable[[], BaseException]) -> None:
        """On the loop: do it.  `cut_off`: what to tell the caller if the loop ends first."""
        current_attempt.set(self._inside)
        try:
            with trio.CancelScope() as self._scope:
                if not self._abandoned:
                    self._value = await self._work()
                    self.come()
        except trio.Cancelled:
            self.fail(cut_off())
            raise
        except BaseException as error:  # whatever it is, it is the caller's
            self.fail(error)
        finally:
            self._scope = None

    def fail(self, error: BaseException) -> None:
        """Settle it with an error, unless it is settled."""
        if not self.passed:
            self._error, self._trace = error, error.__traceback__
            self.come()

    def abandon(self) -> None:
        """On the loop: nobody waits for it any more."""
        self._abandoned = True
        if self._scope is not None:
            self._scope.cancel()

    def unwrap(self) -> T:
        """What the call returned, or the error it ended with, with the traceback that it had on the loop."""
        if self._error is None:
            value: T = self._value
            return value
        error, trace = _own(self._error), self._trace
        self._error = self._trace = None  # the traceback leads to frames that hold this request, and to this one: no cycles
        try:
            raise error.with_traceback(trace)
        finally:
            del error, trace


def _own(error: BaseException) -> BaseException:
    """One error may go to many callers (a journal that failed); each raises its own, or they would write into each other's traceback."""
    if not isinstance(error, JourneymanError):
        return error
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    twin.__cause__, twin.__context__, twin.__suppress_context__ = error.__cause__, error.__context__, error.__suppress_context__
    return twin


class Bridge:
    """A loop of trio in a thread of its own.

    serve: what the loop is there for; it is given the moment to pass when it is ready, and the loop ends when it returns.  stopped: the
    error of a call that finds the loop gone; it is told what ended the loop, or None.
    """

    def __init__(
        self, name: str, serve: Callable[[Moment], Awaitable[None]], stopped: Callable[[BaseException | None], BaseException]
    ) -> None:
        self._serve = serve
        self._stopped = stopped
        self._requests: set[Request[Any]] = set()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._hurried = False
        self.opened = Moment()  # or it ended before it was
        self.ended = Moment()
        self.failure: BaseException | None = None
        self._name = name
        self._claim = [self]  # whoever takes it, runs the loop or sees to it that nobody does: a start can be interrupted at any instant
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun.  Interrupted, it may have begun or not; calling it again is right in both cases."""
        if self._claim:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def withdraw(self) -> bool:
        """End it before it begins; whether that was possible."""
        try:
            self._claim.pop()
        except IndexError:
            return False
        self.ended.come()
        self.opened.come()
        return True

    def join(self) -> None:
        """Wait for the thread's very end; for once `ended` has come."""
        if self._thread is not None:
            self._thread.join()

    @property
    def inside(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def gone(self) -> BaseException:
        """What to tell a caller who finds the loop ended, or ending."""
        return self._stopped(self.failure)

    # --- for callers, on any thread --------------------------------------------------------------------------------------

    def ask(self, work: Callable[[], Awaitable[T]]) -> Steps[T]:
        """Run `work` on the loop.  Interrupted, it is cancelled there; what it has done by then stays done."""
        request = Request(work)
        try:
            self._requests.add(request)
            if self.ended.passed or not self._soon(self._begin, request):
                raise self.gone()
            yield request
        except BaseException:
            if not request.passed:
                self._soon(request.abandon)
            raise
        finally:
            self._requests.discard(request)
        return request.unwrap()

    def hurry(self) -> None:
        """Cancel what the loop serves, or will serve."""
        self._hurried = True
        self._soon(self._scope.cancel)

    def _soon(self, call: Callable[..., object], *args: Any) -> bool:
        """Call this on the loop; whether there is one."""
        if self._token is None:
            return False
        try:
            self._token.run_sync_soon(call, *args)
        except trio.RunFinishedError:
            return False
        return True

    # --- on the loop -----------------------------------------------------------------------------------------------------

    def _begin(self, request: Request[Any]) -> None:
        if self._nursery is None:
            request.fail(self.gone())
        else:
            self._nursery.start_soon(self._answer, request)

    async def _answer(self, request: Request[Any]) -> None:
        try:
            await request.run(self.gone)
        finally:
            self._requests.discard(request)  # its caller may have been interrupted before it could

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._hurried:
            self._scope.cancel()
        async with trio.open_nursery() as callers:
            try:
                with self._scope:
                    self._nursery = callers
                    await self._serve(self.opened)
            except BaseException as error:  # told to whoever asks for it
                self.failure = error
            self._nursery = None
            callers.cancel_scope.deadline = trio.current_time() + LAST_WORDS

    def _run(self) -> None:
        try:
            self._claim.pop()
        except IndexError:
            return
        self._thread = threading.current_thread()
        try:
            trio.run(self._main)
        except BaseException as error:  # trio itself
            self.failure = self.failure or error
        finally:
            self.ended.come()
            while self._requests:
                with suppress(KeyError):  # its caller has just gone
                    self._requests.pop().fail(self.gone())
            self.opened.come()


# --- two ways to wait ---------------------------------------------------------------------------------------------------------


def drive_here(steps: Steps[T], limit: float | None = None, late: Callable[[], BaseException] = TimeoutError) -> T:
    """Take the steps, blocking this thread.  limit: seconds for each wait, after which `late()` interrupts it."""
    try:
        moment = next(steps)
        while True:
            try:
                _block(moment, limit, late)
            except BaseException as error:
                moment = steps.throw(error)
            else:
                moment = next(steps)
    except StopIteration as last:
        value: T = last.value
        return value


def _block(moment: Moment, limit: float | None, late: Callable[[], BaseException]) -> None:
    gate = threading.Lock()
    gate.acquire()
    moment.tell(gate.release)
    if not gate.acquire(timeout=-1 if limit is None else min(limit, threading.TIMEOUT_MAX)):
        raise late()


async def drive_there(steps: Steps[T]) -> T:
    """Take the steps, awaiting on the running loop of asyncio.  RuntimeError where none runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("this door is for asyncio, and no loop of asyncio runs here; a program of trio opens Engine itself") from None
    try:
        moment = next(steps)
        while True:
            try:
                await _passed(moment, loop)
            except BaseException as error:
                moment = steps.throw(error)
            else:
                moment = next(steps)
    except StopIteration as last:
        value: T = last.value
        return value


async def _passed(moment: Moment, loop: asyncio.AbstractEventLoop) -> None:
    future: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not future.done():
            future.set_result(None)

    def tell() -> None:
        with suppress(RuntimeError):  # that loop is closed, and nobody waits there
            loop.call_soon_threadsafe(settle)

    moment.tell(tell)
    await future


__all__ = ["Bridge", "Moment", "Request", "Steps", "drive_here", "drive_there"]

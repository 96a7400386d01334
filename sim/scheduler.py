"""trio made to repeat itself: one seed, one order of everything.

Problem. trio shuffles the tasks that are ready, finishes threads when the machine pleases, and lets its clock run. A simulation
needs the same order each time, in any process, whatever the hash seed. Choice: trio has a switch for it, made for Hypothesis (trio
#840, #890): with it each batch of ready tasks is sorted by age and then shuffled by a generator that can be seeded. The
clock jumps to the next deadline when nothing can run. `trio.to_thread` runs its work at once, on the loop: a clock that jumps while
a thread works would make every thread look infinitely slow.

All of this rests on names that trio calls private.  They stand in this file alone, and `check` proves at import that they
still do what they did, so that a change in trio fails with a sentence and not with a test that is flaky.

Rejected: an event loop of our own (production runs on trio, so trio it must be); `@given`'s seeding (one order for every example);
trio's MockClock (it needs a turn of the loop to notice that nothing can run, and another to jump: a third of the price of a week).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import inspect
import math
import sys
import threading
import types
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any, Final, TypeVar

import outcome
import trio
import trio._core._run as _run
import trio.testing

from journeyman.sim.turns import lighten

T = TypeVar("T")
_threads: Any = sys.modules["trio._threads"]
_start_thread_soon: Final = _threads.start_thread_soon
_FOR_EVER: Final = 1e9
_FLAG: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
_GENERATOR: Final = "_r"
_one_at_a_time: Final = threading.RLock()
_YOUNG: Final = 200_000  # objects made and not freed between two looks of the collector: some 40 MB


class SchedulerChanged(ImportError):
    """trio no longer offers what the simulation is built on; the installed version of trio must be changed."""


@contextlib.contextmanager
def _orderly(seed: int) -> Iterator[None]:
    """Within the block trio's order hangs on `seed` alone, and a simulated loop starts no thread.

    These are switches of the process: a simulation in another thread waits for this one to end.
    """
    with _one_at_a_time:
        before, others = getattr(_run, _FLAG), getattr(_run, _GENERATOR)
        setattr(_run, _FLAG, True)
        setattr(_run, _GENERATOR, _Shuffler(seed, others))
        _threads.start_thread_soon = _at_once
        try:
            yield
        finally:
            setattr(_run, _FLAG, before)
            setattr(_run, _GENERATOR, others)
            _threads.start_thread_soon = _start_thread_soon


class _Shuffler:
    """In place of trio's generator, which every loop of the process draws from: this thread's loop has one of its own, so that a server in
    the background changes nothing here.
    """

    __slots__ = ("_others", "_own", "_thread")

    def __init__(self, seed: int, others: Any) -> None:
        self._own = Random(seed)
        self._others = others
        self._thread = threading.get_ident()

    def shuffle(self, batch: list[Any]) -> None:
        (self._own if threading.get_ident() == self._thread else self._others).shuffle(batch)

    def random(self) -> float:
        return float((self._own if threading.get_ident() == self._thread else self._others).random())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._others, name)


class _InLine:
    """How many functions given to `trio.to_thread` run on the loop of the simulation now, one inside another."""

    depth = 0


in_line: Final = _InLine()


def _at_once(fn: Callable[[], Any], deliver: Callable[[outcome.Outcome[Any]], object], name: str | None = None) -> None:
    if isinstance(trio.lowlevel.current_clock(), VirtualClock):
        in_line.depth += 1
        try:
            found = outcome.capture(fn)
        finally:
            in_line.depth -= 1
        deliver(found)
    else:  # a loop of another thread, which has nothing to do with the simulation
        _start_thread_soon(fn, deliver, name)


def run(
    seed: int,
    main: Callable[..., Awaitable[T]],
    *args: Any,
    instruments: tuple[trio.abc.Instrument, ...] = (),
    asleep: Callable[[], object] = lambda: None,
) -> T:
    """`trio.run(main, *args)` on virtual time, in the order that `seed` gives.

    `asleep` is called when all tasks wait and no deadline is set: it may wake some, or raise, which ends the run with a TrioInternalError.
    """
    with _orderly(seed), _patient_collector():
        return trio.run(main, *args, clock=VirtualClock(asleep), instruments=instruments)


@contextlib.contextmanager
def _patient_collector() -> Iterator[None]:
    """Within the block the cyclic collector looks rarely: a world makes many objects that it keeps to its end, and little garbage in
    circles.  It still looks, so a long world does not grow without bound.

    What stood there before is in the oldest generation after the first look, and the oldest is walked only when a quarter of it is new.
    Rejected: `gc.freeze` for the length of a world; to ask first whether the program has set things aside itself walks all that it has
    set aside, which took as long as the world.
    """
    before = gc.get_threshold()
    if before[0]:  # 0: a program that wants no collector gets none
        gc.set_threshold(max(_YOUNG, before[0]), 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class VirtualClock(trio.abc.Clock):
    """Time that stands still while anything can run, and jumps to the next deadline when nothing can.

    trio asks how long it may sleep exactly when no task is ready: that is the moment to jump, unless a callback from `run_sync_soon` is
    on its way, or somebody waits for just this stillness (`trio.testing.wait_all_tasks_blocked`).
    """

    __slots__ = ("_asleep", "_runner", "now")

    def __init__(self, asleep: Callable[[], object]) -> None:
        self.now = 0.0
        self._asleep = asleep
        self._runner: Any = None

    def start_clock(self) -> None:
        self._runner = _run_state().runner
        lighten(self._runner)

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline <= self.now or self._runner.entry_queue.size():
            return 0.0
        if self._runner.waiting_for_idle:
            return _FOR_EVER
        if deadline == math.inf:
            self._asleep()
            return 0.0 if self._runner.runq else _FOR_EVER
        self.now = deadline
        return 0.0


def jump(seconds: float) -> None:
    """The clock goes on by `seconds` while nobody gets to run: a loop that stalls, a machine that swaps."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, VirtualClock)
    clock.now += seconds


def time_source() -> Callable[[], float]:
    """What `trio.current_time()` asks in the end: a world asks it thirty times for each task."""
    return trio.lowlevel.current_clock().current_time


def _run_state() -> Any:
    return _run.GLOBAL_RUN_CONTEXT


def deadlines() -> int:
    """How many deadlines are set: what can still happen although everybody waits."""
    return int(_run_state().runner.deadlines._active)


def next_deadline() -> float:
    """When the next one strikes, on trio's clock; infinity if there is none."""
    return float(_run_state().runner.deadlines.next_deadline())


def sleepers() -> Iterator[types.CodeType | None]:
    """For each deadline that is set whose it is: the code of the one task that sleeps until then, None if it is anything else."""
    seen = set()
    for deadline, _, scope in _run_state().runner.deadlines._heap:
        if deadline == scope._registered_deadline and scope not in seen:  # others were moved since, or are over
            seen.add(scope)
            status = scope._cancel_status
            yield next(iter(status._tasks)).coro.cr_code if len(status._tasks) == 1 and not status._children else None


def take_shields() -> None:
    """From every task of this run: whoever is cancelled hears of it."""
    for task in _run_state().runner.tasks:
        status = task._cancel_status
        while status is not None:
            status._scope.shield = False
            status = status._parent


def hold_for_ever() -> list[trio.lowlevel.Task]:
    """The tasks of this run, which is about to be broken off.

    They are never freed, not even when the process ends: Python would close their coroutines then, and one that swallows whatever it is
    sent may never come back from that.
    """
    tasks = list(_run_state().runner.tasks)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(tasks))
    return tasks


def code_of(function: Callable[..., Any]) -> types.CodeType:
    """What `sleepers` names a task by that runs `function`."""
    code: types.CodeType = inspect.unwrap(function).__code__
    return code


# --- the self-check ----------------------------------------------------------------------------------------------------


async def _sample() -> str:
    steps: list[str] = []

    async def worker(name: str) -> None:
        for _ in range(4):
            with trio.move_on_after(1):
                await trio.sleep(1)
            steps.append(name)
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        if trio.current_time() != 4:
            raise TypeError("a clock that does not stand still while somebody waits for stillness")
        told = trio.Event()
        trio.lowlevel.current_trio_token().run_sync_soon(told.set)
        await told.wait()
        steps.append(await trio.to_thread.run_sync(lambda: f"{name}{trio.current_time():g}"))

    async with trio.open_nursery() as nursery:
        for name in "abcdefgh":
            nursery.start_soon(worker, name)
    return "".join(steps)


def check() -> None:
    """Raise SchedulerChanged unless a seed gives one order, another seed another, and threads run in line."""
    try:
        runs = {seed: {run(seed, _sample) for _ in range(3)} for seed in range(3)}
    except (AttributeError, TypeError) as error:
        raise SchedulerChanged(_advice(f"{type(error).__name__}: {error}")) from error
    if any(len(orders) != 1 for orders in runs.values()):
        raise SchedulerChanged(_advice("one seed gave different orders"))
    if len(set.union(*runs.values())) == 1:
        raise SchedulerChanged(_advice("different seeds gave one order"))
    if not math.isinf(_probe_deadlines()):
        raise SchedulerChanged(_advice("its deadlines cannot be read"))


def _probe_deadlines() -> float:
    async def main() -> float:
        seen: tuple[int, float, list[types.CodeType | None]] | None = None
        with trio.CancelScope(deadline=5):
            await trio.lowlevel.checkpoint()
            seen = deadlines(), next_deadline(), list(sleepers())
        return next_deadline() if seen == (1, 5, [code_of(main)]) else 0.0

    return run(0, main)


def _advice(what: str) -> str:
    return (
        f"trio {trio.__version__} does not schedule as journeyman.sim needs it ({what}); install a version between 0.31 and the "
        "newest that Journeyman was tested with (constraints.txt), and report this"
    )


check()

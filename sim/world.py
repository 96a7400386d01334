"""A world: one machine, its disks and clocks, the faults that strike it, and everything that is known of what happened.

A scenario gets one and plays the outside world in it.  All engines of a world live in one simulated process and die together.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any, TypeVar

import trio

from journeyman.engine import Door, Handle, Queue, Task, TaskNotFound
from journeyman.engine.queue import queues_of
from journeyman.journal.store import Batch
from journeyman.sim import scheduler
from journeyman.sim.boot import Boot, Machine
from journeyman.sim.bounds import Bounds
from journeyman.sim.clocks import LATEST_US, WorldClock
from journeyman.sim.dice import Dice
from journeyman.sim.disk import Disk
from journeyman.sim.effects import Effects
from journeyman.sim.engine import SimEngine
from journeyman.sim.faults import Faults
from journeyman.sim.life import Life, life_of
from journeyman.sim.pulse import Pulse
from journeyman.sim.saving import save
from journeyman.sim.stillness import Stillness
from journeyman.sim.trace import Trace
from journeyman.sim.trouble import Troubles
from journeyman.sim.watch import Watch
from journeyman.sim.witness import Asked

Check = TypeVar("Check", bound=Callable[..., object])
Queues = Iterable[Queue] | Callable[[], Iterable[Queue]]
STALL: float = 10.0
STEP: float = 7200.0


class Crashed:
    """What `world.crash()` returns: to be awaited, or not."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105 - whoever awaits us awaits it


class World:
    """What a scenario is given.  It takes attributes of your own.

    effects: what handlers did outside.  random: yours, from the seed.  faults: the plan now in force.  trace: what happened so far.
    """

    def __init__(
        self, seed: int, faults: Faults, *, start: datetime | None = None, crash_at: int | None = None, max_steps: int = 1 << 62
    ) -> None:
        self.seed = seed
        self.plan = self.faults = faults
        self.dice = Dice(seed, faults)
        self.clock = WorldClock(drift=faults.clock_drift) if start is None else WorldClock(start, faults.clock_drift)
        self.random = Random(f"{seed}-world")
        self.trace = Trace(seed)
        self.effects = Effects(self)
        self.bounds = Bounds(self, max_steps)
        self.pulse = Pulse(self, crash_at, self.bounds.first_look())
        self.watch = Watch(self)
        self.stillness = Stillness(self)
        self.engines: list[SimEngine] = []
        self.boots: list[Boot] = []  # of which something is left
        self.failure: BaseException | None = None
        self.nursery: trio.Nursery
        self.scope: trio.CancelScope  # of the scenario
        self._disks: dict[str, Disk] = {}
        self._troubles = Troubles(self)
        self._crashes = 0
        self._ended = False

    # --- for scenarios ------------------------------------------------------------------------------------------------

    def engine(self, queues: Queues = (), *, path: str = "journal", durability: str = "full", **options: Any) -> SimEngine:
        """The production engine in this world: `async with world.engine(queues=[mail]) as engine`.

        `queues`: as for Engine, or a callable that returns them, called at each boot: how a redeploy with other handlers or policies is
        played, and how handlers get fresh module state.  `path` names a disk: engines of one path find the same journal.  Other options
        are Engine's: max_concurrency, grace.
        """
        relaxed = durability == "relaxed"
        disk = self._disks.setdefault(path, Disk(relaxed=relaxed))
        if disk.relaxed != relaxed:  # what a power cut took back can only be told of a disk that remembers all it was given
            raise ValueError(f"the disk {path!r} of this world began with the other durability, and keeps it; give another path=")
        machine = Machine(path, disk, {"durability": durability, **options})
        source = queues if callable(queues) else _constant(queues_of(queues))
        engine = SimEngine(self, machine, lambda: queues_of(source()))
        self.engines.append(engine)
        return engine

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return self.clock.now()

    def time(self) -> float:
        """Virtual seconds since the world began: monotonic."""
        return self.clock.read()

    async def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let virtual time pass."""
        await trio.sleep(((days * 24 + hours) * 60 + minutes) * 60 + seconds)

    def crash(self, *, power: bool = False) -> Crashed:
        """Kill the process now; with `power` the machine too.  It is started again after `faults.restart` seconds.

        Awaiting what it returns gives the others a turn; the process is dead without that too.
        """
        self.note("fault", "the scenario kills the process" + (" and the machine" if power else ""))
        self.die(power=power)
        return Crashed()

    def step_clock(self, seconds: float) -> None:
        """Set the wall clock forward or back; what runs on monotonic time does not notice.  A suspend is a step forward.

        ValueError if it would show a time before 1970 or after 9500, or if `seconds` is not finite.
        """
        self.clock.step(seconds)
        self.note("fault", f"the wall clock is set by {seconds:+g} s")

    async def history(self, task: Handle[Any] | Task | str) -> Life:
        """The life so far of a task, for assertions: `(await world.history(handle)).assert_ran(3, apart=30).then_dead_lettered()`.

        Asks the engines that are open, after a crash when they are up again.  TaskNotFound if none of them has the task.
        """
        for engine in [engine for engine in self.engines if engine.entered]:
            await engine.ready()
            with contextlib.suppress(TaskNotFound):
                return await life_of(engine, task)
        raise TaskNotFound(f"no engine that is open in this world has {task!r}; ask inside `async with world.engine(...)`")

    def save(self, directory: str | os.PathLike[str], path: str = "journal") -> None:
        """Write what is durable now on the disk `path` to a real journal in `directory`, for the journal's tools (docs/JOURNAL.md).

        FileExistsError if `directory` is there already, KeyError if this world has no such disk.
        """
        save(self._disks[path], directory)

    def invariant(self, check: Check) -> Check:
        """Have `check()` or `check(world)` called after every commit, at each boot and at the end; when something is wrong it raises
        AssertionError, or returns False or what else is false, but for None.  Usable as a decorator.  A check looks and does not await:
        it is called in the middle of things.
        """
        if inspect.iscoroutinefunction(check):
            raise TypeError("an invariant is a plain function: it is asked between two steps of the engine and cannot await")
        self.watch.add(functools.wraps(check)(functools.partial(check, self)) if asks_for_world(check) else check)
        return check

    def calm(self) -> None:
        """No faults from here on."""
        self.faults = Faults(restart=self.faults.restart)
        self.dice.plan(self.faults)
        self.clock.run_true()
        for disk in self._disks.values():
            disk.full_until = min(disk.full_until, self.time())

    # --- what happens -------------------------------------------------------------------------------------------------

    def note(self, kind: str, text: str) -> None:
        """A line in the trace."""
        self.trace.add(self.time(), kind, text)

    def boot(self, machine: Machine, queues: Sequence[Queue]) -> Boot:
        boot = Boot(self, machine, self.trace.boots + 1, queues)
        self.boots.append(boot)
        self.watch.boots(queues)
        self.bounds.boot(boot.number)
        self.trace.boots += 1
        self._troubles.bring(queues)
        self.note("boot", f"boot {boot.number} on {machine.path!r}")
        return boot

    def created(self, *queues: Queue) -> None:
        """Queues that come into being while an engine runs: their handlers have the troubles of all."""
        self._troubles.bring([queue for queue in queues if isinstance(queue, Queue)])  # anything else is refused by the engine

    def booted(self, boot: Boot) -> None:
        self.bounds.opened()
        self.watch.booted(boot)

    def closing(self, boot: Boot) -> None:
        self.watch.closing(boot)

    def die(self, *, power: bool | None = None) -> None:
        """The process dies, here and now."""
        fallen = [boot for boot in self.boots if not boot.dead and not boot.over.is_set()]
        if not fallen:
            return
        self._crashes += 1
        cut = self.dice.power() if power is None else power
        self.note("crash", f"crash {self._crashes}{', power and all' if cut else ''}")
        for boot in fallen:
            boot.die()
        for boot in fallen:
            boot.fall()
            if cut and boot.machine.disk.cut_power():
                boot.forget_ends()
                self.watch.lost_newest(boot)
            self.watch.crashed(boot)

    def stall(self) -> None:
        seconds = self.dice.within("stall", STALL)
        self.note("fault", f"the loop stalls for {seconds:.3f} s")
        scheduler.jump(seconds)

    def written(self, boot: Boot, batch: Batch) -> None:
        """A commit of `boot` is on the disk."""
        self.pulse.news()
        self.watch.written(boot, batch)

    def entered(self, boot: Boot, seq: int) -> None:
        self.pulse.news()
        self.watch.entered(boot, seq)

    def left(self, boot: Boot, seq: int) -> None:
        self.pulse.news()
        self.watch.left(boot, seq)

    def asked(self, engine: SimEngine, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], door: Door) -> Asked:
        """A call of the outside world begins, of `engine` or through one of its namespaces."""
        return self.watch.asked(engine, name, args, kwargs, door)

    def abandoned(self, asked: Asked) -> None:
        """Whoever made the call waits for it no longer."""
        asked.witness.under_way.pop(asked.calls, None)

    def answered(self, asked: Asked, answer: Any, error: BaseException | None) -> None:
        """A call of the outside world has returned."""
        self.watch.answered(asked, answer, error)

    def give_up(self, error: BaseException) -> None:
        """End the run with `error`, unless it is ending already."""
        if self.failure is None:
            self.failure = error
            self.stillness.give_time()
            self.scope.cancel()
            self._let_go()

    @property
    def over(self) -> bool:
        """Whether nothing is waited for any more but that all tasks end."""
        return self._ended or self.failure is not None

    def _let_go(self) -> None:
        """No engine is left to wind up what nobody will look at: a boot that waits for its disk would wait for ever."""
        for boot in self.boots:
            if not boot.over.is_set():
                boot.die()
                boot.store.forget()
                boot.fall()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def clockwork(self) -> None:
        """Once a minute the wall clock may step."""
        while self.dice.possible("clock_step") and self.failure is None:
            await trio.sleep(60.0)
            if self.dice.strikes("clock_step"):
                wall, step = self.clock.wall(), self.dice.either_way("clock_step", STEP)
                self.step_clock(min(max(step, -wall / 1_000_000), (LATEST_US - wall) / 1_000_000))  # as far as a clock goes

    def end(self, raised: BaseException | None = None) -> None:
        """The scenario is over, and has raised this."""
        if self._ended:
            return
        self._ended = True
        self.failure = self.failure or raised
        self.stillness.give_time()
        self._troubles.leave()
        self.watch.sum_up()
        self.trace.seconds = self.time()
        self.trace.points = self.pulse.points
        self.trace.worth = self.pulse.worth
        self.trace.faults.update({name: n for name, n in self.dice.struck.items() if n})
        self._let_go()


def _constant(queues: tuple[Queue, ...]) -> Callable[[], Iterable[Queue]]:
    return lambda: queues


def asks_for_world(function: Callable[..., object]) -> bool:
    """Whether it must be given an argument, which then is the world."""
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in _parameters(function))


def of_each_boot(world: World, make: Callable[..., Queues]) -> Callable[[], tuple[Queue, ...]]:
    """`make()` or `make(world)` for `world.engine(queues=)`.  The invariants that it adds are about a process, and end with it."""
    of_the_last: list[Callable[[], object]] = []

    def queues() -> tuple[Queue, ...]:
        world.watch.drop(of_the_last)
        before = len(world.watch.checks)
        made = make(world) if asks_for_world(make) else make()
        found = tuple(made() if callable(made) else made)
        of_the_last[:] = world.watch.checks[before:]
        return found

    return queues


def _parameters(check: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(check).parameters.values())
    except (TypeError, ValueError):  # written in C
        return []

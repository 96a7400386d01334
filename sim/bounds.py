"""What a world may take before it is given up: steps in all, steps while time stands still, boots.

Problem.  A handler that submits itself without a delay, and a client that asks a dying process again at once, go on for ever.  Each step
of that is small, and all of it is kept, so `max_steps` would strike after half an hour and after the memory is spent.  Choice: a bound on
the steps within one second of virtual time, and one on boots.

A hundred thousand tasks that do nothing, due at one instant, are a fair test; they take 1 to 3 steps each, 6 when their handlers await
something.  So a million steps are more than such a burst takes, and an end after a minute for tasks that submit each other, after some
minutes for one that fails again and again (a step of which is a traceback, and more to keep).  Time that creeps, as
with a retry after a microsecond, is as good as time that stands still: hence the second.

A step must not pay for this.  The pulse asks only when its steps have passed `Pulse.limit`, which is the next time to look.  Who is to
blame is counted only once there is somebody to blame: the limit then stays where it is, so that each step is looked at for a while.
"""

from __future__ import annotations

import inspect
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from journeyman.actors.attempt import Attempt, current_attempt
from journeyman.sim import dump
from journeyman.sim.errors import OutOfTime

if TYPE_CHECKING:
    from journeyman.sim.world import World

STILL: Final = 1_000_000  # steps while time stands still, at least
SECOND: Final = 1.0  # of virtual time; what does not get further within so many steps stands still
LOOK: Final = 50_000  # steps from one look at the clock to the next
SAMPLE: Final = 10_000  # steps of which it is counted whose they are
NAMED: Final = 5  # of those who took most of them
BOOTS: Final = 5_000  # at least: two minutes of them, where each leaves something in the journal
FRUITLESS: Final = 1_000  # boots in a row that end before they are open
STEPS_A_BOOT: Final = 2_000  # whoever allows more than ten million steps allows more boots


class Bounds:
    """Of one world.  `max_steps`: of all its tasks, as `simulate` is given it; the other bounds rise with it."""

    def __init__(self, world: World, max_steps: int) -> None:
        self._world = world
        self._max_steps = max_steps
        self._still = max(STILL, max_steps // 10)
        self._boots = max(BOOTS, max_steps // STEPS_A_BOOT)
        self._fruitless = 0  # boots in a row that ended before they were open
        self._since = 0.0, 0  # instant and step from which on time may stand still
        self._guilty: Counter[str] | None = None  # whose the steps are, once time does stand still
        self._runs: dict[str, set[tuple[bytes, int]]] = {}

    def first_look(self) -> int:
        """The step after which to look first."""
        return min(LOOK, self._still, self._max_steps)

    def look(self, task: trio.lowlevel.Task) -> bool:
        """`task` is about to take a step, which is beyond the limit of the pulse.  Whether the world is being ended."""
        world, pulse = self._world, self._world.pulse
        if world.over:
            world.stillness.press()
            return True
        if pulse.steps > self._max_steps:
            world.give_up(OutOfTime(f"{self._max_steps:,} steps and no end: raise max_steps, or look at the trace for a loop"))
            return True
        now = world.time()
        instant, step = self._since
        if now - instant >= SECOND:
            self._since, self._guilty = (now, pulse.steps), None
            self._runs.clear()
        elif self._guilty is not None:
            self._count(task, self._guilty)
            if self._guilty.total() >= SAMPLE:
                world.give_up(self._stands_still(self._guilty, now - instant, pulse.steps - 1 - step))
                return True
            return False  # and look at the next step too
        elif pulse.steps - step >= self._still:
            self._guilty = Counter()
            return False
        pulse.limit = min(pulse.steps + LOOK, self._since[1] + self._still, self._max_steps)
        return False

    def _count(self, task: trio.lowlevel.Task, guilty: Counter[str]) -> None:
        world = self._world
        # A handler that awaits nothing is over in the first step of its task, before which only the argument of that tells whose it is.
        attempt = task.context.get(current_attempt) or inspect.getcoroutinelocals(task.coro).get("attempt")
        if isinstance(attempt, Attempt):
            who = f"handler {attempt.task.queue}/{attempt.task.handler}"
            self._runs.setdefault(who, set()).add((attempt.task.id, attempt.number))
        elif world.pulse.owner(task) is not None:
            who = f"the engine's {_short(task.name)}"
        elif task is world.nursery.parent_task:
            who = "the scenario itself"
        else:
            who = f"trio's {task.name}" if task.name.startswith("<") else f"the scenario's {_short(task.name)}"
        guilty[who] += 1

    def _stands_still(self, guilty: Counter[str], went_on: float, steps: int) -> OutOfTime:
        world = self._world
        stands = "has stood still" if went_on == 0 else f"has gone on by no more than {went_on:.6f} s"
        lines = [
            f"{steps:,} steps, and virtual time {stands} at {world.time():.6f} s, wall clock {world.now():%Y-%m-%d %H:%M:%S}",
            f"whose the last {SAMPLE:,} of these steps were:",
        ]
        for who, often in guilty.most_common(NAMED):
            runs = self._runs.get(who)
            lines.append(f"  {often:>6,}  {who}{'' if runs is None else f', in {len(runs):,} of its runs'}")
        lines.append(
            "something goes on without a delay: give it one; or raise max_steps, a tenth of which may be taken in a virtual second"
        )
        return OutOfTime("\n".join([*lines, *dump.waiting(world)]))

    def boot(self, number: int) -> None:
        """The world is about to have boot `number`, counted from 1."""
        self._fruitless += 1
        if self._fruitless > FRUITLESS:
            self._world.give_up(
                OutOfTime(f"{FRUITLESS:,} boots in a row ended before they were open: make crash=, torn_commit= or read_error= rarer")
            )
        elif number > self._boots:
            self._world.give_up(
                OutOfTime(
                    f"{self._boots:,} boots within {self._world.time():.6g} s of virtual time, and no end: the process dies again before "
                    "what the scenario waits for is done; make crash=, torn_commit= or the faults of the disk rarer or restart= longer, or "
                    f"raise max_steps, a {STEPS_A_BOOT:,}th of which may be boots"
                )
            )

    def opened(self) -> None:
        """A boot is open."""
        self._fruitless = 0


def _short(name: str) -> str:
    """Of a task, as trio names it after its function."""
    return name.removeprefix("journeyman.").split(".<locals>.")[-1]

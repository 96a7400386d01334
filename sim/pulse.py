"""Every step that any task takes, counted: the places where a crash can strike.

A trio instrument sees each task just before it goes on after an await.  Tasks that belong to a boot of a simulated engine (its own and
those of its handlers) are told from the scenario's by their ancestry.  Each of their steps is a *point*, and so is the moment before and
after each commit, and before and after each effect of a handler.  A crash strikes at a point drawn by chance, or at the n-th when every one
is tried in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from journeyman.sim.boot import Boot
    from journeyman.sim.world import World

ALIKE: Final = 40


class Pulse(trio.abc.Instrument):
    def __init__(self, world: World, crash_at: int | None, limit: int) -> None:
        self._world = world
        self._dice = world.dice
        self._crash_at = crash_at
        self._owner: dict[trio.lowlevel.Task, Boot] = {}
        self.limit = limit  # beyond so many steps the world is looked at
        self.steps = 0  # of any task
        self.points = 0
        self.worth: list[int] = []  # the points that differ: see `point`
        self._since = 0  # points since something last reached the disk or a handler
        self.struck: str | None = None  # where the chosen crash did strike

    def claim(self, boot: Boot) -> None:
        """The current task and its children belong to `boot`."""
        self._owner[trio.lowlevel.current_task()] = boot

    def owner(self, task: trio.lowlevel.Task) -> Boot | None:
        """The boot that `task` belongs to; None if it is the scenario's."""
        return self._owner.get(task)

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        nursery = task.parent_nursery
        if nursery is not None:
            owner = self._owner.get(nursery.parent_task)
            if owner is not None:
                self._owner[task] = owner

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._owner.pop(task, None)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps > self.limit and self._world.bounds.look(task):
            return
        owner = self._owner.get(task)
        if owner is None or owner.dead:
            return
        dice, until = self._dice, self._dice.until
        if until["crash"] > 0 and self._crash_at is None:  # as `point` does it, without the calls: this is every step of every task
            until["crash"] -= 1
            self._since += 1
            if self._since <= ALIKE:
                self.worth.append(self.points)
            self.points += 1
        else:
            self.point("at an await")
        if until["stall"] > 0:
            until["stall"] -= 1
        elif dice.strikes("stall"):
            self._world.stall()

    def news(self) -> None:
        """Something reached the disk or the world outside, or a handler was entered or left: to die now is not what it was before."""
        self._since = 0

    def effect(self, where: str) -> None:
        """A point before or after an effect of a handler.  Chance has a generator of its own for these: a handler that has one effect more
        moves no other crash of a seed that was saved.
        """
        self.point(where, "effect")

    def point(self, where: str, kind: str = "crash") -> None:
        """A place where the process can die.

        An idle engine looks around once a minute, and to die in the thousandth of those minutes shows nothing that the first did not: only
        the first `ALIKE` points after anything happened are worth a try of their own.
        """
        n = self.points
        self.points = n + 1
        self._since += 1
        if self._since <= ALIKE:
            self.worth.append(n)
        if self._crash_at is not None:
            if n == self._crash_at:
                self.struck = f"at point {n}, {where}"
                self._world.note("fault", f"the process dies at point {n}, {where}")
                self._world.die()
        elif self._dice.strikes(kind):
            self._world.note("fault", f"the process dies, {where}")
            self._world.die()

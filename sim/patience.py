"""How a client lives through what happens to its engine: it lets all come to rest, and does again what a crash has cut short.

Both serve those who drive a world for Hypothesis (machine.py, strategies.py): a check that is skipped because the process died under it
has checked nothing, and one that is made while faults still strike blames the engine for them.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from journeyman.actors.ending import leaves
from journeyman.engine import EngineStopped, JournalError
from journeyman.sim.errors import EngineCrashed
from journeyman.sim.world import World

HANGING: Final = 86_400.0  # virtual seconds
TRIES: Final = 100  # under the rarest luck of a plan of a twentieth each, a check of ten awaits is through long before
LONGEST: Final = 60.0  # virtual seconds between two tries: a disk stays full for a while
CUT_SHORT: Final = (EngineCrashed, EngineStopped, JournalError)  # of the machine below the engine, not of what was asked

Command = Callable[[World, Any], Awaitable[object]]


async def come_to_rest(world: World, engine: Any) -> None:
    """No faults from here on, and nothing moves any more.

    A time limit would keep a deadlock from being seen, so there is one only where a fault made a handler hang: without a time-out of its
    own it hangs until its process ends, and that is nobody's mistake.
    """
    await engine.ready()
    world.calm()
    with trio.move_on_after(HANGING if world.dice.struck["handler_hang"] else math.inf):
        for _ in range(TRIES):  # who has stopped the engine is told so each time, for ever: then nothing moves either
            try:
                await engine.drain()
            except CUT_SHORT:  # what broke before the world was calm may be noticed only now
                await engine.ready()
                await trio.sleep(1)
            else:
                return


async def insist(world: World, engine: Any, command: Command) -> None:
    """Await `command(world, engine)`, from its beginning again when the engine goes down under it.

    Raises what it raises otherwise, and what cut it short the last of `TRIES` times.
    """
    pause = 1.0
    for tried in range(1, TRIES + 1):
        try:
            await command(world, engine)
        except Exception as error:
            causes = leaves(error)
            if not all(isinstance(cause, CUT_SHORT) for cause in causes):
                raise
            if tried == TRIES:
                error.add_note(f"a check was cut short like this {TRIES} times, and has never come to its end")
                raise
            world.note("cut short", f"{type(causes[0]).__name__}: it is begun again when the engine is up")
            await engine.ready()
            if not any(isinstance(cause, EngineCrashed) for cause in causes):  # the engine is up, so only time can mend it
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST)
        else:
            return


__all__ = ["CUT_SHORT", "HANGING", "Command", "come_to_rest", "insist"]

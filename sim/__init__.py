"""Simulation: your handlers and the production engine, on virtual time, from one seed.

    from journeyman.sim import simulate, Faults, World

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine:
            handle = await engine.submit(send.using(delay=3 * 86400), "a@example.org")
            await trio.sleep(3 * 86400)                           # returns at once
            assert (await handle.wait()).state == "succeeded"

    trace = simulate(scenario, seed=7, faults=Faults(crash=0.01))

docs/SIMULATION.md tells the rest.
"""

from journeyman.sim.capture import Captured, Submitted, capture
from journeyman.sim.effects import Effects
from journeyman.sim.errors import Deadlock, EngineCrashed, HandlerTrouble, OutOfTime, PromiseBroken
from journeyman.sim.faults import Faults
from journeyman.sim.life import Life, Run, life_of
from journeyman.sim.simulate import simulate
from journeyman.sim.sweep import CrashSweepFailed
from journeyman.sim.trace import Entry, Trace
from journeyman.sim.world import World

__all__ = [
    "Captured",
    "CrashSweepFailed",
    "Deadlock",
    "Effects",
    "EngineCrashed",
    "Entry",
    "Faults",
    "HandlerTrouble",
    "Life",
    "OutOfTime",
    "PromiseBroken",
    "Run",
    "Submitted",
    "Trace",
    "World",
    "capture",
    "life_of",
    "simulate",
]

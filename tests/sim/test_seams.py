"""Store, clock, randomness and thread runner are given to the engine from outside; nothing else of it is another in a simulation."""

from __future__ import annotations

import inspect
import subprocess
import sys

from journeyman.engine import Engine
from journeyman.sim.engine import CALLS, SimEngine
from tests.sources import ROOT

# In a process of its own: whatever stands in the four layers before journeyman.sim is imported stands there in the middle of a run.
PROGRAM = """
import pkgutil, importlib, sys
import journeyman

LAYERS = ("journeyman.kernel", "journeyman.journal", "journeyman.actors", "journeyman.engine")
for layer in LAYERS:
    for module in pkgutil.iter_modules(importlib.import_module(layer).__path__):
        if module.name != "probe":  # a program, run in a process of its own
            importlib.import_module(f"{layer}.{module.name}")

def picture():
    seen = {}
    for name in sorted(sys.modules):
        if name.startswith(LAYERS):
            for key, value in vars(sys.modules[name]).items():
                if callable(value) and getattr(value, "__module__", None) == name:
                    seen[name, key] = value
                    if isinstance(value, type):
                        seen.update({(name, key, inner): part for inner, part in vars(value).items() if callable(part)})
    return seen

before = picture()
import trio
from journeyman import Context, Engine, Queue
from journeyman.sim import Faults, simulate

async def scenario(world):
    queue = Queue("q")

    @queue.handler
    async def work(ctx: Context) -> None:
        assert type(ctx.engine) is Engine, "the production engine"
        during = picture()
        assert during.keys() == before.keys()
        changed = [name for name in before if during[name] is not before[name]]
        assert changed == [], changed
        world.looked = True

    async with world.engine(queues=[queue]) as engine:
        with engine.capture():
            await (await engine.submit(work)).result()
    assert world.looked

simulate(scenario, faults=Faults(handler_slow=1.0, crash=1e-9))
print(len(before), "functions and classes")
"""


def test_no_line_of_the_engine_is_replaced() -> None:  # row 89
    ran = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[0]) > 1000


def test_the_engine_of_a_scenario_adds_only_the_fate_of_calls() -> None:
    life = {"__init__", "__aenter__", "__aexit__", "stop", "wait_for", "_opened", "_plugin", "_feed", "opened_anew"}
    overridden = {name for name, value in vars(SimEngine).items() if inspect.isfunction(value) and hasattr(Engine, name)}
    assert overridden == life | set(CALLS)
    coroutines = {name for name, value in inspect.getmembers(Engine, inspect.iscoroutinefunction) if not name.startswith("_")}
    assert coroutines - {"stop", "wait", "wait_for"} == set(CALLS), "every call can be under way when the process dies"

"""The lightened loop takes the turns that trio's own would take, and hears what comes from outside all the same."""

from __future__ import annotations

import socket
import sys
import threading
import time

import pytest
import trio

from journeyman.engine import Queue
from journeyman.sim import Faults, World, scheduler, simulate
from journeyman.sim.errors import EngineCrashed
from journeyman.sim.turns import Hooks, StillIO, Wakeup

FAULTS = Faults(crash=0.002, slow_disk=0.05, stall=0.001)


async def errands(world: World) -> None:
    queue = Queue("errands", concurrency=8)

    @queue.handler
    async def run(n: int) -> int:
        await trio.sleep(n % 3)
        return n

    async with world.engine([queue]) as engine:
        for n in range(12):
            try:
                await engine.submit_many([(run, (n * 20 + m,), {}) for m in range(20)])
            except EngineCrashed:
                await engine.ready()
            await trio.sleep(20)


@pytest.mark.parametrize("seed", range(6))
def test_every_turn_is_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    light = simulate(errands, seed=seed, faults=FAULTS)
    monkeypatch.setattr(scheduler, "lighten", lambda runner: None)
    heavy = simulate(errands, seed=seed, faults=FAULTS)
    assert (light.digest, light.points, light.events) == (heavy.digest, heavy.points, heavy.events)


def test_it_is_in_place() -> None:
    async def look() -> tuple[type, type, type]:
        runner = scheduler._run_state().runner
        return type(runner.instruments), type(runner.io_manager), type(runner.entry_queue.wakeup)

    found = scheduler.run(0, look)
    assert found[0] is Hooks
    if sys.platform == "linux":
        assert found[1:] == (StillIO, Wakeup)


def test_a_socket_is_heard() -> None:
    async def main() -> bytes:
        one, other = socket.socketpair()
        one.setblocking(False)
        other.setblocking(False)
        found = b""

        async def listen() -> None:
            nonlocal found
            await trio.lowlevel.wait_readable(one)
            found = one.recv(9)

        with one, other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await trio.lowlevel.checkpoint()
                other.send(b"hello")
        return found

    assert scheduler.run(0, main) == b"hello"


def test_another_thread_wakes_a_loop_that_sleeps() -> None:
    async def main() -> str:
        told = trio.Event()
        token = trio.lowlevel.current_trio_token()
        timer = threading.Timer(0.05, token.run_sync_soon, (told.set,))
        timer.start()
        await told.wait()  # no deadline is set: the loop sleeps
        timer.join()
        return "woken"

    assert scheduler.run(0, main) == "woken"


def test_instruments_may_come_and_go() -> None:
    class Steps(trio.abc.Instrument):
        count = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += 1

    async def main() -> tuple[int, int]:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.lowlevel.checkpoint()
        seen = steps.count
        trio.lowlevel.remove_instrument(steps)
        await trio.lowlevel.checkpoint()
        return seen, steps.count

    seen, after = scheduler.run(0, main)
    assert seen == after > 0


def test_a_loop_of_another_thread_keeps_its_worker_threads() -> None:
    """What is replaced in trio for a simulation is replaced for the simulation alone."""
    done = threading.Event()
    in_line: list[bool] = []

    async def other() -> None:
        while not done.is_set():
            in_line.append(await trio.to_thread.run_sync(threading.get_ident) == threading.get_ident())

    async def scenario(world: World) -> None:
        assert await trio.to_thread.run_sync(threading.get_ident) == threading.get_ident()
        before = len(in_line)
        until = time.monotonic() + 20
        while len(in_line) < before + 10 and time.monotonic() < until:
            time.sleep(0.01)  # noqa: ASYNC251 - real time, for a real thread
        assert len(in_line) >= before + 10

    beside = threading.Thread(target=trio.run, args=(other,))
    beside.start()
    try:
        simulate(scenario)
    finally:
        done.set()
        beside.join()
    assert not any(in_line)

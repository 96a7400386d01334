"""The rate limit at handler entry, on a clock that jumps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from journeyman.actors.gate import Gate


def attempt() -> Any:
    return cast("Any", SimpleNamespace(why=None, scope=None, cost=1))


async def entries(gate: Gate, count: int) -> list[float]:
    began = trio.current_time()
    found: list[float] = []
    for _ in range(count):
        await gate.hold(attempt())
        found.append(round(trio.current_time() - began, 6))
    return found


def on_a_jumping_clock(program: Any, *args: Any) -> Any:
    return trio.run(program, *args, clock=trio.testing.MockClock(autojump_threshold=0))


def test_entries_are_spaced() -> None:
    async def program() -> list[float]:
        gate = Gate()
        gate.set(20, 1_000_000, 1)
        return await entries(gate, 4)

    assert on_a_jumping_clock(program) == [0.0, 0.05, 0.1, 0.15]


@pytest.mark.parametrize(
    ("ahead", "burst", "expected"),
    [
        (0.05, 1, [0.1, 0.15]),  # the last start is this very instant: a whole interval, and the lag that its entry may have had
        (0.0, 1, [0.05, 0.1]),  # it was an interval ago, and its entry may have been just now
        (-0.03, 1, [0.02, 0.07]),
        (-0.05, 1, [0.0, 0.05]),  # two intervals ago: no debt
        (-9.0, 1, [0.0, 0.05]),
        (0.1, 2, [0.1, 0.15]),  # the burst is spent
        (-9.0, 2, [0.0, 0.0, 0.05]),
    ],
)
def test_a_restart_gives_no_free_entry(ahead: float, burst: int, expected: list[float]) -> None:
    async def program() -> list[float]:
        gate = Gate()
        gate.set(20, 1_000_000, burst)
        gate.resume(ahead)
        return await entries(gate, len(expected))

    assert on_a_jumping_clock(program) == pytest.approx(expected)


def test_after_a_dear_start_a_restart_waits_for_all_of_it() -> None:
    """Found by simulation (swarm seed 2044): its entry may have come as late after the start as any other."""

    async def program() -> list[float]:
        gate = Gate()
        gate.set(20, 1_000_000, 1)
        gate.resume(0.35)
        return await entries(gate, 2)

    assert on_a_jumping_clock(program) == pytest.approx([0.4, 0.45])


def test_without_a_rate_the_gate_is_open() -> None:
    async def program() -> list[float]:
        gate = Gate()
        gate.set(0, 1, 1)
        gate.resume(5.0)
        return await entries(gate, 3)

    assert on_a_jumping_clock(program) == [0.0, 0.0, 0.0]

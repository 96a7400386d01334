"""whatif on random days of whole engines: crashes, stops, stepped clocks, shared limiters, orders, prunes.  None may break a play."""

from __future__ import annotations

import contextlib
import logging

import pytest

from journeyman.journal.whatif import Variant, compare, settings
from journeyman.kernel.events import JournalCompacted, TaskSubmitted
from journeyman.sim import World, simulate
from journeyman.sim.swarm import swarm_scenario
from tests.journal.recordings import Events, events_of

SEEDS = range(24)
POLICIES = (
    "concurrency=1 retry.attempts=1", "concurrency=50 rate=none", "rate=3/1s burst 2 retry.attempts=9 retry.backoff=linear(1,60)",
    "fair_by=owner per_key=3 rate_per_key=5/1s", "timeout=1s key_order=relaxed aging=5s",
    "max_pending=3 on_crash=interrupt retry.crashes=0",
)  # fmt: skip


def random_day(seed: int) -> list[Events]:
    """The journals of the swarm's run of `seed`."""
    scenario, faults = swarm_scenario(seed)
    found: list[Events] = []

    async def and_keep(world: World) -> None:
        await scenario(world)
        found.extend(events_of(engine) for engine in {id(engine.machine.disk): engine for engine in world.engines}.values())

    with contextlib.suppress(Exception):  # of a day that ended badly nothing is kept
        simulate(and_keep, seed=seed, faults=faults, converge=False)
    return found


def test_random_days_can_be_played_and_most_are_exact(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    played = exact = 0
    for seed in SEEDS:
        for events in random_day(seed):
            compacted = next((event for _, event in reversed(events) if isinstance(event, JournalCompacted)), None)
            queues = {event.queue for _, event in events if isinstance(event, TaskSubmitted)}
            for queue in sorted(queues):
                policy = POLICIES[seed % len(POLICIES)]
                try:
                    found = compare(events, queue, [Variant(policy, settings([policy]))], compacted=compacted)
                except ValueError as nothing:
                    assert "nothing to play" in str(nothing)  # noqa: PT017
                    continue
                played += 1
                exact += found.baseline.compared == found.baseline.starts and (found.baseline.error_max_us or 0) <= 10
    assert played > 25
    assert exact / played > 0.8

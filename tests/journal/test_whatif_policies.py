"""whatif: what another policy would have come to, of days in a simulated world."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio

from journeyman.engine import Constant, Context, Queue, Retry, Snooze
from journeyman.journal.whatif import Played, Player, settings
from journeyman.journal.whatif.recording import Recording
from journeyman.kernel.events import AttemptStarted
from journeyman.sim import Faults, World
from journeyman.sim.engine import SimEngine
from tests.journal.recordings import Events, heard, mail, recorded, steady, tried


def played(events: Events, *texts: str) -> Played:
    return Player(heard(events), settings(list(texts))).play()


@pytest.fixture(scope="module")
def saturated() -> Events:
    """Two slots, and work for far more; every seventh fails twice."""
    queue = mail(concurrency=2, retry=Retry(attempts=3, backoff=Constant(0.2)))
    return recorded(queue, steady(200, 400, failures=lambda n: 2 * (n % 7 == 0)))


def test_twice_the_slots_halve_the_makespan_of_a_saturated_queue(saturated: Events) -> None:
    found = tried(saturated, "concurrency=4", "concurrency=1")
    twice, half = (each.played.figures for each in found.variants)
    assert twice.makespan_us / found.recorded.makespan_us == pytest.approx(0.5, rel=0.05)
    assert half.makespan_us / found.recorded.makespan_us == pytest.approx(2, rel=0.05)
    assert twice.succeeded == half.succeeded == found.recorded.succeeded == 200


class Timekeeper(Player):
    """Notes when runs start."""

    def __init__(self, recording: Recording, facts: dict[str, Any]) -> None:
        super().__init__(recording, facts)
        self.started: list[int] = []

    def take(self, event: Any) -> None:
        if type(event) is AttemptStarted:
            self.started.append(event.at)
        super().take(event)


def test_a_rate_bounds_the_starts(saturated: Events) -> None:
    player = Timekeeper(heard(saturated), settings(["rate=5/1s burst 3"]))
    found = player.play()
    starts = player.started
    assert len(starts) == found.figures.starts > 200
    for first, last in pairwise(range(0, len(starts), 4)):
        assert starts[last] - starts[first] >= 200_000
    for n, start in enumerate(starts):
        within = sum(1 for other in starts[n : n + 20] if other < start + 1_000_000)
        assert within <= 3 + 5
    assert found.figures.limited_us > 0.9 * found.figures.makespan_us


def test_one_attempt_turns_retries_into_dead_letters(saturated: Events) -> None:
    found = played(saturated, "retry.attempts=1").figures
    assert (found.dead_letters, found.retries, found.failures) == (29, 0, 29)
    assert (found.starts, found.succeeded) == (200, 171)


def test_more_attempts_than_were_recorded_are_drawn_and_counted() -> None:
    events = recorded(mail(concurrency=4), steady(100, 20, failures=lambda n: int(n % 4 == 0)))
    found = played(events, "retry.attempts=5", "retry.backoff=constant(1)", "retry.jitter=0")
    assert found.drawn >= 25
    assert found.figures.dead_letters < 10
    assert found.figures.starts == 100 + found.drawn


def test_a_time_out_makes_failures_of_what_took_longer() -> None:
    events = recorded(mail(concurrency=4, timeout=0.2), steady(100, 10))
    was = heard(events)
    timed_out = sum(1 for detail in was.detail.values() if detail.get("cause") == "timeout")
    assert 20 < timed_out < 80
    shorter = played(events, "timeout=100ms").figures
    assert shorter.dead_letters == sum(1 for us in was.handler_us if us > 100_000)
    longer = played(events, "timeout=none")
    assert longer.figures.dead_letters == timed_out  # no run of that handler took longer, so nobody knows
    assert longer.drawn == 0


def test_backoff_keys_and_room(saturated: Events) -> None:
    assert played(saturated, "retry.backoff=constant(600)").figures.makespan_us > 1_200_000_000
    refusing = played(saturated, "max_pending=50")
    assert refusing.refused > 50
    assert refusing.figures.succeeded == 200 - refusing.refused
    events = recorded(mail(concurrency=8), steady(120, 60, using=lambda n: {"key": f"k{n % 3}"}))
    found = tried(events, "per_key=2", "key_order=relaxed")
    assert found.variants[0].played.figures.makespan_us < 0.6 * found.recorded.makespan_us
    assert found.variants[1].played.figures.makespan_us == found.as_it_was.figures.makespan_us


def test_the_same_twice(saturated: Events) -> None:
    once, again = (played(saturated, "retry.attempts=9", "concurrency=3") for _ in range(2))
    assert once.figures == again.figures
    assert (once.drawn, once.differences) == (again.drawn, again.differences)


def test_what_never_comes_to_an_end_is_given_up() -> None:
    queue = Queue("mail")

    @queue.handler
    async def poll(ctx: Context) -> None:
        raise Snooze(1)

    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        await engine.submit(poll)
        await world.advance(seconds=10)

    found = tried(recorded(queue, day))
    assert found.as_it_was.stopped
    assert found.as_it_was.figures.unfinished == 1


def test_tasks_of_the_far_future_are_left_out() -> None:
    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        await engine.submit(queue.handlers["send"].using(delay=86_400), 1.0)
        await engine.submit(queue.handlers["send"], 0.1)
        await trio.sleep(5)

    found = tried(recorded(mail(), day))
    assert found.recorded.tasks == found.as_it_was.figures.tasks == 1
    assert found.as_it_was.figures.makespan_us < 1_000_000


def test_nothing_to_play_is_said() -> None:
    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        await engine.submit(queue.handlers["send"].using(delay=60), 1.0)

    with pytest.raises(ValueError, match="no run of queue 'mail' came to its end"):
        tried(recorded(mail(), day))


def test_what_a_time_out_hid_is_said_and_not_invented() -> None:
    """Nobody knows how long the cut runs would have gone on; with longer ones of the handler on record, those stand for them."""
    queue = mail(concurrency=4, timeout=5)

    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        for seconds in range(10):
            await engine.submit(queue.handlers["send"], seconds + 0.5)
        await engine.drain()

    events = recorded(queue, day)
    found = tried(events, "timeout=none", "timeout=3")
    longer, shorter = (each.played for each in found.variants)
    assert (longer.hidden, longer.figures.dead_letters, shorter.hidden) == (5, 5, 0)
    assert any("5 runs that the recorded time-out ended fail here as they did" in line for line in found.assumptions)
    assert not any("recorded time-out" in line for line in tried(events, "timeout=3").assumptions)


def test_the_backlog_is_measured_alike_in_what_was_and_in_what_is_played() -> None:
    queue = mail(concurrency=10)

    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        await engine.submit_many([queue.handlers["send"].bind(1) for _ in range(100)])
        await engine.drain()

    found = tried(recorded(queue, day, faults=Faults()), "concurrency=20")
    assert found.recorded.backlog_max == found.as_it_was.figures.backlog_max == 90
    assert found.variants[0].played.figures.backlog_max == 80

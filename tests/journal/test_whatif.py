"""whatif: under its own policy a recorded queue behaves as recorded; under another one it does what the kernel would have done."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import trio
import trio.lowlevel

from journeyman.engine import Constant, Context, Exponential, Fatal, Queue, Rate, Retention, Retry, RetryLater, Snooze
from journeyman.journal.whatif import Comparison, compare
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.sim import EngineCrashed, Faults, World, simulate
from journeyman.sim.engine import SimEngine
from tests.journal.recordings import LAGS, Events, events_of, mail, recorded, steady, tried

EXACT_US = 10  # virtual time is counted in floats


def assert_exact(found: Comparison) -> None:
    """Every recorded start has its counterpart, at the same instant; and everything else is as it was."""
    baseline, was, now = found.baseline, found.recorded, found.as_it_was.figures
    assert baseline.compared == baseline.starts == was.starts == now.starts > 0
    assert baseline.error_max_us is not None
    assert baseline.error_max_us <= EXACT_US
    assert baseline.trusted
    counts = ("tasks", "succeeded", "failures", "retries", "dead_letters", "snoozes", "cancelled", "cut_short", "unfinished")
    assert {name: getattr(was, name) for name in counts} == {name: getattr(now, name) for name in counts}
    assert abs(was.backlog_max - now.backlog_max) <= 1  # a microsecond between one that came due and one that started
    assert abs(was.makespan_us - now.makespan_us) <= 2 * EXACT_US
    assert was.utilisation == pytest.approx(now.utilisation, rel=1e-3)
    assert was.backlog_mean == pytest.approx(now.backlog_mean, rel=1e-3, abs=1e-3)


# --- the baseline ---------------------------------------------------------------------------------------------------------


SLOTS = {"concurrency": 2}
DAYS = {
    "slots": (SLOTS, steady(150, 20)),
    "rate": ({"concurrency": 20, "rate": Rate(10, burst=3)}, steady(150, 20)),
    "keys": ({"concurrency": 8}, steady(150, 30, using=lambda n: {"key": f"k{n % 5}"})),
    "relaxed keys": (
        {"concurrency": 8, "key_order": "relaxed", "retry": Retry(attempts=3, backoff=Constant(0.7))},
        steady(150, 30, failures=lambda n: int(n % 4 == 0), using=lambda n: {"key": f"k{n % 5}"}),
    ),
    "key rates": ({"concurrency": 8, "rate_per_key": Rate(4)}, steady(120, 30, using=lambda n: {"key": f"k{n % 5}"} if n % 3 else {})),
    "retries": (
        {"concurrency": 4, "retry": Retry(attempts=4, backoff=Exponential(0.5, 2, 10))},
        steady(150, 20, failures=lambda n: 2 * (n % 7 == 0) + 5 * (n % 31 == 0)),
    ),
    "order": ({"concurrency": 1, "aging": 0.5}, steady(120, 10, using=lambda n: {"priority": n % 3, "delay": 0.3 * (n % 4)})),
    "fair": ({"concurrency": 2, "fair_by": "owner"}, steady(150, 20, using=lambda n: {"owner": ("user", str(n * n % 7))})),
    "time-outs": (
        {"concurrency": 3, "timeout": 0.2, "retry": Retry(attempts=2, backoff=Constant(1))},
        steady(120, 15, using=lambda n: {"deadline": 2.0} if n % 9 == 0 else {}),
    ),
}  # fmt: skip


# row 87
@pytest.mark.parametrize("name", DAYS)
def test_under_its_own_policy_it_behaves_as_recorded(name: str) -> None:
    policy, day = DAYS[name]
    assert_exact(tried(recorded(mail(**policy), day)))


async def operated(world: World, queue: Queue, engine: SimEngine) -> None:
    chance, handles = Random(1), []
    send = queue.handlers["send"]
    for n in range(200):
        own: dict[str, Any] = {"delay": chance.choice([0, 0, 1, 3]), "priority": n % 3}
        handles.append(await engine.submit(send.using(**own), chance.uniform(0.05, 0.5), int(n % 11 == 0)))
        await trio.sleep(chance.expovariate(15))
        if n % 13 == 0 and n > 20 and (await engine.get(handles[n - 5].id)).state not in TERMINAL:
            await engine.cancel(handles[n - 5].id, running=True)
        if n % 17 == 0 and n > 20 and (await engine.get(handles[n - 1].id)).state == "scheduled":
            await engine.reschedule(handles[n - 1].id, delay=0.5)
        match n:
            case 50:
                await engine.pause("mail")
            case 70:
                await engine.resume("mail")
            case 80:
                await engine.configure("mail", concurrency=1)
            case 120:
                await engine.configure("mail", concurrency=4, rate=Rate(30, burst=2))
    await engine.drain()
    for task in (await engine.list(queue="mail", state="cancelled"))[:5]:
        await engine.retry(task.id)
    await engine.drain()


def test_orders_of_operators_are_carried_out_as_recorded() -> None:
    queue = mail(concurrency=3, retry=Retry(attempts=2, backoff=Constant(1)))
    assert_exact(tried(recorded(queue, operated)))


def test_a_graceful_restart_is_played_as_it_was() -> None:
    found: Events = []

    async def scenario(world: World) -> None:
        for day in range(3):
            queue, chance = mail(concurrency=2), Random(day)
            engine = world.engine(queues=[queue])
            async with engine:
                for _ in range(50):
                    await engine.submit(queue.handlers["send"], chance.uniform(0.05, 0.3))
                    await trio.sleep(chance.expovariate(20))
                if day == 2:
                    await engine.drain()
            await trio.sleep(60)
        found.extend(events_of(engine))

    simulate(scenario, faults=LAGS, converge=False)
    comparison = tried(found, "concurrency=50")
    assert_exact(comparison)
    assert comparison.recording.boots == 3
    assert comparison.recording.down_us > 119_000_000
    assert "down for" in comparison.baseline.reasons[0]
    assert (comparison.variants[0].played.figures.wait_p50_us or 0) < (comparison.recorded.wait_p50_us or 0)


async def stepping(world: World, queue: Queue, engine: SimEngine) -> None:
    for n in range(240):
        await engine.submit(queue.handlers["send"].using(delay=n % 4), 1.0 + n % 3, int(n % 7 == 0))
        await trio.sleep(1.5)
        if n in (20, 120):
            world.step_clock(7500 if n == 20 else -13_000)
    await engine.drain()


def test_a_stepped_clock_is_made_even() -> None:
    queue = mail(concurrency=3, rate=Rate(1), retry=Retry(attempts=2), retention=Retention(succeeded=None))
    found = tried(recorded(queue, stepping))
    assert found.recording.steps == 2
    assert_exact(found)


def test_another_queue_draws_from_a_shared_limiter_as_it_did() -> None:
    other = Queue("other", concurrency=5, rate=Rate(10, name="partner"))

    @other.handler
    async def work() -> None:
        await trio.sleep(0.1)

    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        await engine.submit_many([work.using(delay=0.15 * n).bind() for n in range(100)])
        await steady(100, 7)(world, queue, engine)

    found = tried(recorded(mail(concurrency=10, rate=Rate(10, name="partner")), day, others=(other,)))
    assert_exact(found)
    assert "shared limiter 'partner'" in found.baseline.reasons[0]


async def crashing(world: World, queue: Queue, engine: SimEngine) -> None:
    chance = Random(1)
    for n in range(150):
        try:
            await engine.submit(queue.handlers["send"].using(priority=n % 3), chance.uniform(0.05, 0.3))
        except EngineCrashed:
            await engine.ready()
        await trio.sleep(chance.expovariate(15))
        if n in (40, 100):
            world.crash()
            await trio.lowlevel.checkpoint()
    await engine.ready()
    await engine.drain()


def test_crashes_are_played_as_they_were() -> None:
    found = tried(recorded(mail(concurrency=2), crashing, faults=Faults(disk_latency=(0.001, 0.01), restart=5.0)))
    assert_exact(found)
    assert found.recorded.cut_short >= 2


def family() -> Queue:
    """Handlers that snooze, submit, park their queue, give up."""
    queue = Queue("mail", concurrency=3, retry=Retry(attempts=3, backoff=Constant(0.5)))

    @queue.handler
    async def parent(ctx: Context, n: int, seconds: float) -> None:
        await trio.sleep(seconds)
        if n % 4 == 0 and ctx.attempt == 1:
            raise Snooze(1.5)
        if n % 13 == 1 and ctx.attempt == 1:
            raise RetryLater("busy", delay=0.4, scope="queue")
        if n % 17 == 3:
            raise Fatal("never")
        await ctx.submit(queue.handlers["child"], n, seconds)

    @queue.handler
    async def child(n: int, seconds: float) -> None:
        await trio.sleep(seconds)

    return queue


async def family_day(world: World, queue: Queue, engine: SimEngine) -> None:
    chance, last = Random(1), None
    for n in range(120):
        own: dict[str, Any] = {}
        if last is not None and n % 3 == 0:
            own["after"], own["after_failure"] = [last], "run" if n % 2 else "cancel"
        if n % 5 == 0:
            own["unique"] = f"u{n % 2}"
        which = queue.handlers["child"].using(**own) if own else queue.handlers["parent"]
        last = (await engine.submit(which, n, chance.uniform(0.05, 0.4))).id
        await trio.sleep(chance.expovariate(9))
    await engine.drain()


def test_snoozes_parked_queues_dependencies_and_tasks_of_tasks_follow_the_policy() -> None:
    found = tried(recorded(family(), family_day), "concurrency=1")
    assert_exact(found)
    slow = found.variants[0].played
    assert slow.figures.unfinished == 0
    assert slow.figures.makespan_us > 1.5 * found.recorded.makespan_us
    assert slow.merged > 0  # unique keys that were free in truth were still taken
    children = found.recording.children_count
    assert children > 40
    assert slow.unborn < children / 10


def test_a_span_begins_with_what_was_there() -> None:
    events = recorded(
        mail(concurrency=2, retry=Retry(attempts=3, backoff=Constant(0.5))), steady(150, 20, failures=lambda n: int(n % 9 == 0))
    )
    whole = tried(events)
    for since in (100, 200, 301):
        found = compare(events, "mail", [], since=since)
        assert found.recording.carried > 10
        assert_exact(found)
        assert found.recorded.starts < whole.recorded.starts
    until = compare(events[:250], "mail", [])
    assert until.recorded.unfinished > 10
    assert until.as_it_was.figures.unfinished == 0  # what was left is played to its end
    assert until.baseline.compared == until.recorded.starts
    assert until.baseline.error_max_us is not None and until.baseline.error_max_us <= EXACT_US


def test_slots_shared_with_another_queue_make_it_untrustworthy_and_it_says_so() -> None:
    other = Queue("other", concurrency=10)

    @other.handler
    async def work() -> None:
        await trio.sleep(2)

    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        await engine.submit_many([work.bind() for _ in range(40)])
        await steady(60, 20)(world, queue, engine)

    found = tried(recorded(mail(concurrency=10), day, others=(other,), max_concurrency=4))
    assert not found.baseline.trusted
    assert found.baseline.bias_us is not None and found.baseline.bias_us < 0
    assert any("max_concurrency" in reason for reason in found.baseline.reasons)


def test_tasks_that_were_pruned_are_told_of() -> None:
    async def day(world: World, queue: Queue, engine: SimEngine) -> None:
        await steady(40, 20)(world, queue, engine)
        await world.advance(hours=2)
        await steady(40, 20)(world, queue, engine)

    found = tried(recorded(mail(concurrency=1, retention=Retention(succeeded=60)), day))
    assert found.recording.pruned == 40
    assert found.recorded.tasks == 40
    assert "40 tasks of this span have left the journal" in found.baseline.reasons[0]

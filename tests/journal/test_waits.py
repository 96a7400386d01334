"""Why tasks waited, found in the journal afterwards.  Each cause is brought about by a real engine, on virtual time."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Context, Engine, Queue, Rate, Retry, RetryLater, Snooze
from journeyman.journal.timeline import life as life_of
from journeyman.journal.view import open_journal
from journeyman.journal.waits import Wait, distance, explained, waits
from journeyman.sim import World, simulate
from tests.acceptance.virtual import TrioClock
from tests.journal.recorded import RecordedStore, poured

S = 1_000_000


def causes_of(store: RecordedStore, path: Path, id: str, now: int = 0) -> list[list[tuple[str, float]]]:
    """For each wait of any length, its causes and their seconds, the longest first; checks that they add up to the wait."""
    found = inquiry(store, path, id, now)
    for wait in found:
        assert sum(cause.us for cause in wait.causes) == wait.us
    return [[(cause.kind, round(cause.us / S, 2)) for cause in wait.causes if cause.us > 20_000] for wait in found if wait.us > 20_000]


def inquiry(store: RecordedStore, path: Path, id: str, now: int = 0) -> list[Wait]:
    with poured(store, path) as view:
        task = view.task(bytes.fromhex(id.replace("-", "")))
        assert task is not None
        own = [(seq, event) for seq, event in view.events() if seq in task.seqs]
        some = waits(own, now or max(event.at for _, event in own))
        assert distance(view.store, some, view.last_seq) <= view.last_seq
        return explained(view, task.queue, task.id, some)


async def test_due_backoff_snooze(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", retry=Retry(attempts=2, backoff=Constant(10), jitter=0)), RecordedStore()

    @queue.handler
    async def work(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError
        if ctx.attempt == 2:
            raise Snooze(30)

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        handle = await engine.submit(work.using(delay=5))
        await handle.wait()
    assert causes_of(store, tmp_path / "jobs", handle.id) == [[("not due", 5)], [("backoff", 10)], [("not due", 30)]]


async def test_slots_keys_and_the_order(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", concurrency=2), RecordedStore()

    @queue.handler
    async def work(seconds: float) -> None:
        await trio.sleep(seconds)

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        first = await engine.submit(work.using(key="k"), 4)
        behind = await engine.submit(work.using(key="k"), 1)
        await engine.submit(work, 7)
        crowded = await engine.submit(work, 1)
        await engine.drain()
    assert causes_of(store, tmp_path / "behind", behind.id) == [[("key busy", 4)]]
    (wait,) = [wait for wait in inquiry(store, tmp_path / "words", behind.id) if wait.us > S]
    assert first.id in wait.causes[0].text
    assert not wait.causes[0].inferred
    assert causes_of(store, tmp_path / "crowded", crowded.id) == [[("no free slot", 5)]]


async def test_rates(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    store = RecordedStore()
    queue, keyed = Queue("q", concurrency=9, rate=Rate(1, per=10.0)), Queue("keyed", concurrency=9, rate_per_key=Rate(1, per=20.0))

    @queue.handler
    async def work() -> None: ...

    @keyed.handler
    async def other() -> None: ...

    async with Engine(None, [queue, keyed], store=store, clock=TrioClock()) as engine:
        handles = await engine.submit_many([(work,), (work,), (other.using(key="k"),), (other.using(key="k"),)])
        await engine.drain()
    assert causes_of(store, tmp_path / "rate", handles[1].id) == [[("rate limited until", 10)]]
    assert causes_of(store, tmp_path / "key", handles[3].id) == [[("key rate limited until", 20)]]


async def test_pauses_parking_and_dependencies(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", concurrency=4), RecordedStore()

    @queue.handler
    async def work(ctx: Context, parks: bool = False) -> None:
        await trio.sleep(1)
        if parks and ctx.attempt == 1:
            raise RetryLater("closed for lunch", delay=60, scope="queue")

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        await engine.pause("q", reason="month end", by="ann")
        paused = await engine.submit(work)
        after = await engine.submit(work.using(after=[paused.id]))
        await trio.sleep(100)
        await engine.resume("q")
        await after.wait()
        await engine.submit(work, True)
        await trio.sleep(2)
        parked = await engine.submit(work)
        await engine.drain()
    assert causes_of(store, tmp_path / "paused", paused.id) == [[("paused", 100)]]
    (wait,) = [wait for wait in inquiry(store, tmp_path / "words", paused.id) if wait.us > S]
    assert "ann: month end" in wait.causes[0].text
    assert causes_of(store, tmp_path / "after", after.id) == [[("waits for", 101)]]
    ((cause, seconds),) = causes_of(store, tmp_path / "parked", parked.id)[0]
    assert (cause, seconds) == ("parked until", pytest.approx(59, abs=0.1))


async def test_no_engine(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """One boot ends in good order, the next one dies; a task that was not due meanwhile did not wait for an engine."""
    queue, store, clock = Queue("q"), RecordedStore(), TrioClock()

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue], store=store, clock=clock) as engine:
        await engine.pause("q")
        held, later = await engine.submit_many([(work,), (work.using(delay=500),)])
        await trio.sleep(10)
    await trio.sleep(100)
    async with Engine(None, [queue], store=store, clock=clock):
        await trio.sleep(20)
        dies = copy.deepcopy(store)
    await trio.sleep(50)
    async with Engine(None, [queue], store=dies, clock=clock) as engine:
        await engine.resume("q")
        await trio.sleep(400)
    (wait,) = [wait for wait in inquiry(dies, tmp_path / "jobs", held.id) if wait.us]
    assert [(cause.kind, round(cause.us / S), cause.inferred) for cause in wait.causes] == [
        ("engine down", 170, True),  # of the second boot nothing is on record after its first instant
        ("paused", 10, False),
    ]
    assert causes_of(dies, tmp_path / "later", later.id) == [[("not due", 500)]]


async def test_what_the_journal_does_not_know_is_inferred(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    one, two, store = Queue("one"), Queue("two"), RecordedStore()

    @one.handler
    async def work() -> None:
        await trio.sleep(5)

    @two.handler
    async def other() -> None: ...

    async with Engine(None, [one, two], store=store, clock=TrioClock(), max_concurrency=1) as engine:
        await engine.submit(work)
        await trio.sleep(1)
        held = await engine.submit(other)
        await engine.drain()
    (wait,) = [wait for wait in inquiry(store, tmp_path / "jobs", held.id) if wait.us]
    assert [(cause.kind, round(cause.us / S), cause.inferred) for cause in wait.causes] == [("next", 4, True)]


async def test_many_events_are_not_all_asked_about(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journeyman.journal.waits.STRIDE", 10)
    queue, store = Queue("q", concurrency=1), RecordedStore()

    @queue.handler
    async def work() -> None:
        await trio.sleep(1)

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        handles = await engine.submit_many([(work,)] * 60)
        await engine.drain()
    (wait,) = [wait for wait in inquiry(store, tmp_path / "jobs", handles[-1].id) if wait.us]
    assert [(cause.kind, round(cause.us / S), cause.inferred) for cause in wait.causes] == [("no free slot", 59, True)]


async def test_a_wait_that_goes_on(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    queue, store, clock = Queue("q"), RecordedStore(), TrioClock()

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue], store=store, clock=clock) as engine:
        await engine.pause("q")
        handle = await engine.submit(work)
        await trio.sleep(7)
    end = store.live[-1][1].at
    assert causes_of(store, tmp_path / "jobs", handle.id, end + 3 * S) == [[("paused", 7), ("engine down", 3)]]


def test_the_clock_is_stepped_in_the_middle_of_a_wait(tmp_path: Path) -> None:
    """On by ten minutes, and back by hours, while no engine runs."""
    ids: list[str] = []

    async def life(world: World) -> None:
        queue = Queue("q")

        @queue.handler
        async def work() -> None: ...

        async with world.engine(queues=[queue]) as engine:
            for seconds in (600, -9000):
                ids.append((await engine.submit(work.using(delay=200))).id)
                await trio.sleep(90)
                world.crash()
                world.step_clock(seconds)
                await engine.ready()
                await trio.sleep(300)
        world.save(tmp_path / "jobs")

    simulate(life, seed=1)
    with open_journal(tmp_path / "jobs") as view:
        told = [life_of(view, bytes.fromhex(id.replace("-", ""))) for id in ids]
        found = [explained(view, "q", one.task.id, one.waits) for one in told if one is not None]
        ((on,), (back,)) = found
    assert {cause.kind for cause in on.causes} == {"not due", "engine down"}, "time passed while no engine ran, as far as anybody can tell"
    assert sum(cause.us for cause in on.causes) == on.us
    assert (back.us < 0, back.causes) == (True, ())

"""Navidrome's plugin TaskQueue: making queues, their names, defaults and limits, and what a restart makes of them."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
import trio

from journeyman import (
    Context,
    Engine,
    Exponential,
    InvalidName,
    JourneymanError,
    Queue,
    QueueExists,
    Rate,
    Retention,
    Retry,
    State,
)  # fmt: skip
from journeyman.sim import World
from tests.parity.virtual import is_gone, simulated

HOUR, DAY = 3600, 86_400


@simulated
async def test_a_queue_that_nobody_configured(world: World) -> None:
    """A, defaults: one task at a time, no retries, no pause between starts, ended tasks are kept for an hour.

    Better: the same, and a failed task is kept for a week, so that a person can look at it and retry it.
    """
    queue, starts = Queue("q"), []

    @queue.handler
    async def work(name: str) -> None:
        starts.append((name, round(world.time())))
        await trio.sleep(1)
        if name == "bad":
            raise ValueError(name)

    async with world.engine(queues=[queue]) as engine:
        bad, good, last = await engine.submit_many([work.bind("bad"), work.bind("good"), work.bind("last")])
        await engine.drain()
        assert starts == [("bad", 0), ("good", 1), ("last", 2)]
        task = await engine.get(bad.id)
        assert (task.state, task.attempt, task.max_attempts) == ("failed", 1, 1)
        await world.advance(seconds=HOUR - 10)
        assert not await is_gone(engine, last.id)
        await world.advance(seconds=20)
        assert await is_gone(engine, good.id)
        await world.advance(days=6)
        assert not await is_gone(engine, bad.id)
        await world.advance(days=1)
        assert await is_gone(engine, bad.id)


@pytest.mark.parametrize("name", ["q", "x" * 128, "é" * 64, "with space / and ünicode"])
def test_a_names_that_are_taken(name: str) -> None:
    """A, CreateQueue: a name of 1 to 128 bytes is taken, counted in bytes and not in letters.

    Same.
    """
    assert Queue(name).name == name


@pytest.mark.parametrize("name", ["", "x" * 129, "é" * 65, "line\nbreak", "bell\x07", "nul\x00"])
def test_a_names_that_are_refused(name: str) -> None:
    """A, CreateQueue: an empty name and one over 128 bytes are refused; there is no rule about characters.

    Different: control characters are refused too, for names stand in logs and on screens.
    """
    with pytest.raises(InvalidName):
        Queue(name)


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Queue("q", concurrency=0),
        lambda: Queue("q", concurrency=-3),
        lambda: Queue("q", retry=Retry(attempts=0)),
        lambda: Queue("q", retry=Retry(attempts=-1)),
        lambda: Queue("q", retry=Retry(backoff=Exponential(-1.0))),
        lambda: Queue("q", rate=Rate(0)),
        lambda: Queue("q", rate=Rate(-1)),
        lambda: Queue("q", retention=Retention(succeeded=-1)),
    ],
)
def test_a_nonsense_is_not_a_default(declare: object) -> None:
    """A, defaults: zero and negative numbers mean the default, or are stored as they are and act as zero.

    Different: a number that makes no sense is a ValueError where it is written, so that a typo is found.
    """
    assert callable(declare)
    with pytest.raises(ValueError):  # noqa: PT011 (the message is the validator's own business)
        declare()


@simulated
async def test_a_retention_is_kept_as_it_was_asked_for(world: World) -> None:
    """A, clamps: a retention below a minute or above a week is clamped, with a warning in the log.

    Different: the owner gets what was asked for, a second or eight days; clamps are for namespaces.
    """
    brief, long = Queue("brief", retention=Retention(succeeded=1)), Queue("long", retention=Retention(succeeded=8 * DAY))

    async def work() -> None: ...

    brief.handler(name="brief")(work)
    long.handler(name="long")(work)
    async with world.engine(queues=[brief, long]) as engine:
        one, other = await engine.submit_many([("brief", (), {}), ("long", (), {})])
        await engine.drain()
        assert not await is_gone(engine, one.id)
        await world.advance(seconds=2)
        assert await is_gone(engine, one.id)
        await world.advance(days=7)
        assert not await is_gone(engine, other.id)
        await world.advance(days=2)
        assert await is_gone(engine, other.id)


async def test_a_the_same_name_twice() -> None:
    """A, duplicate: a queue of a name that this process has created already is refused as existing.

    Same: QueueExists, for queues that are declared together and for one that is created later.
    """
    async with Engine(None, [Queue("x")]) as engine:
        with pytest.raises(QueueExists, match="'x'"):
            await engine.create_queue(Queue("x"))
        await engine.create_queue(Queue("y"))
        with pytest.raises(QueueExists, match="'y'"):
            await engine.create_queue(Queue("y"))
    with pytest.raises(QueueExists, match="'x'"):
        async with Engine(None, [Queue("x"), Queue("x")]):
            pass


@simulated
async def test_a_a_new_configuration_replaces_the_old_one(world: World) -> None:
    """A, across restarts: concurrency, retries, backoff, delay and retention of the newest start are those of the stored tasks too.

    Same: and the change is an event of the journal.  An instant that was decided already stays.
    """
    most = inside = 0

    async def work(ctx: Context) -> None:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        await trio.sleep(1)
        inside -= 1
        raise ValueError

    old, new = Queue("q"), Queue("q", concurrency=3, retry=Retry(attempts=2, backoff=Exponential(50.0), jitter=0))
    old.handler(work)
    new.handler(work)
    async with world.engine(queues=[old]) as engine:
        handles = await engine.submit_many([("work", (), {})] * 6)
        await world.advance(seconds=1.5)
    assert most == 1
    async with world.engine(queues=[new]) as engine:
        await engine.drain()
        assert most == 3
        tasks = [await engine.get(handle.id) for handle in handles]
        assert [(task.state, task.failures) for task in tasks] == [("failed", 1)] * 2 + [("failed", 2)] * 4, (
            "the first two ran under the old one"
        )
        (await world.history(handles[-1])).assert_ran(2, apart=50, tolerance=0)
    # The same declaration once more changes nothing and is no error.
    async with world.engine(queues=[new]) as engine:
        assert await engine.count(state="failed") == 6


@simulated
async def test_a_a_configuration_that_changes_while_it_runs(world: World) -> None:
    """A, across restarts: only a restart of the plugin changes a queue's configuration.

    Better: configure changes it at once, on the record, until another one is declared.
    """
    queue, starts = Queue("q"), []

    @queue.handler
    async def work() -> None:
        starts.append(world.time())
        await trio.sleep(10)

    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.bind() for _ in range(5)])
        await world.advance(seconds=1)
        await engine.configure("q", concurrency=3)
        await engine.drain()
    async with world.engine(queues=[queue]) as engine:
        await engine.submit_many([work.bind() for _ in range(3)])
        await engine.drain()
    assert starts == [0, 1, 1, 10, 11, 21, 21, 21]


@simulated
async def test_a_tasks_of_a_queue_that_is_not_created_again(world: World) -> None:
    """A, restart recovery: the tasks of a queue that no plugin creates again are neither run nor cleaned up.

    Better: they are not run, for nobody has said how, but they are seen, counted, explained, cancelled, cleared and pruned.
    """
    queue = Queue("q")

    @queue.handler
    async def work(seconds: float) -> None:
        await trio.sleep(seconds)

    async with world.engine(queues=[queue]) as engine:
        done, stays, goes, clears = await engine.submit_many([work.bind(0), *[work.using(delay=10).bind(1) for _ in range(3)]])
        await done.wait()
    async with world.engine(queues=[]) as engine:
        await world.advance(minutes=1)
        assert await engine.count("q", "pending") == 3
        assert [reason.kind for reason in (await engine.explain(stays.id)).reasons] == ["no handler here"]
        assert not (await engine.stats())["q"].declared
        await engine.cancel(goes.id, "nobody needs it")
        await world.advance(hours=2)
        assert await is_gone(engine, done.id), "pruned by its retention"
    async with world.engine(queues=[queue]) as engine:
        await engine.drain()
        ended = [await engine.get(handle.id) for handle in (stays, clears)]
        assert [(task.state, task.attempt) for task in ended] == [("succeeded", 1)] * 2, "nothing was charged meanwhile"


@simulated
async def test_a_clearing_what_was_left_over_before_the_queue_is_declared(world: World) -> None:
    """A, ClearQueue: a plugin that clears its queue before it creates it gets an error, and old tasks survive.

    Mended: a queue that the journal knows can be cleared and looked at whether or not it is declared; create_queue then finds it empty.
    """
    ran, old, new = [], Queue("q"), Queue("q")

    async def work(n: int) -> None:
        ran.append(n)

    old.handler(work)
    new.handler(work)
    async with world.engine(queues=[old]) as engine:
        await engine.submit_many([(engine.handler("work", "q").using(delay=5), (n,), {}) for n in range(3)])
    async with world.engine(queues=[]) as engine:
        assert await engine.clear("q", reason="a new start") == 3
        await engine.create_queue(new)
        await engine.submit("work", 9)
        await engine.drain()
        await world.advance(minutes=1)
    assert ran == [9]


async def test_a_one_private_directory(tmp_path: Path) -> None:
    """A, storage: one file below a directory of mode 0700, versioned, made when it is missing.

    Same: a directory for each journal.
    """
    place = tmp_path / "deep" / "jobs"
    async with Engine(place, [Queue("q")]):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert all(stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 for file in place.iterdir())


async def test_a_a_place_that_cannot_be_opened_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A, storage: the error of a store that could not be opened was swallowed, and users saw a misleading message later.

    Mended: entering the engine raises it, and names the place.
    """
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a directory")
    with caplog.at_level(logging.DEBUG), pytest.raises((OSError, JourneymanError), match="file"):
        async with Engine(in_the_way / "jobs", [Queue("q")]):
            raise AssertionError("it opened")


def test_a_states() -> None:
    """A, statuses: pending, running, completed, failed, cancelled.

    Better: the same five (completed is called succeeded), and scheduled, retrying and interrupted told apart from them.
    """
    assert {"pending", "running", "succeeded", "failed", "cancelled"} < {str(state) for state in State}

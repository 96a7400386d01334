"""Row 85: the lossless feed, through the public door."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from journeyman import (
    Context,
    Engine,
    EngineStopped,
    EventFeed,
    FeedEvent,
    Queue,
    QueueNotFound,
)  # fmt: skip
from journeyman.journal.feed import PAGE
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.view import open_journal
from tests.acceptance.feeds import drained, lane, seqs, some
from tests.acceptance.processes import Program
from tests.acceptance.stores import WatchedStore
from tests.acceptance.virtual import TrioClock

# --- it misses nothing --------------------------------------------------------------------------------------------------


async def test_row_85_a_reader_however_slow_is_shown_everything_in_order(tmp_path: Path) -> None:
    seen: list[FeedEvent] = []
    most, done = 0, trio.Event()
    async with Engine(tmp_path / "j", queues=[lane(concurrency=16)]) as engine:
        feed = engine.events()

        async def follow() -> None:
            nonlocal most
            with pytest.raises(EngineStopped):
                async for event in feed:
                    seen.append(event)
                    most = max(most, len(feed._ready))
                    if len(seen) == 6_000:
                        done.set()
                    elif len(seen) % 40 == 0:
                        await trio.sleep(0.001)  # far slower than the engine

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for _ in range(5):
                await drained(engine, "mail", 400)
            with trio.fail_after(20):
                await done.wait()
            await engine.stop()
    assert 0 < most < PAGE, "at constant memory"
    with open_journal(tmp_path / "j") as view:
        written = [(seq, type(event).__name__) for seq, event in view.events(seen[0].seq)]
    assert [(event.seq, event.kind) for event in seen] == written, "each once, in order, to the last"
    assert seen[-1].kind == "EngineClosed"


async def test_row_85_from_now_on_is_from_the_call_on_though_the_reader_begins_later() -> None:
    async with Engine(None, queues=[lane()]) as engine:
        await drained(engine, "mail", 3)
        feed = engine.events()
        first = await engine.submit("mail", 7)
        await first.wait()
        events = await some(feed, 3)
        assert [event.kind for event in events] == ["TaskSubmitted", "AttemptStarted", "TaskSucceeded"]
        assert {event.task for event in events} == {first.id}
        history = await engine.history(first.id)
        assert [(e.seq, e.kind, e.at, e.queue, e.details) for e in events] == [(h.seq, h.kind, h.at, h.queue, h.details) for h in history]


async def test_row_85_nothing_is_shown_before_it_is_durable() -> None:  # law 3
    store = WatchedStore()
    async with Engine(None, queues=[lane()], store=store) as engine:
        feed = engine.events()
        store.hold = True
        seen: list[FeedEvent] = []
        async with trio.open_nursery() as nursery:

            async def follow() -> None:
                seen.extend(await some(feed, 1))

            nursery.start_soon(follow)
            nursery.start_soon(engine.submit, "mail", 1)
            await trio.testing.wait_all_tasks_blocked()
            assert store.held
            assert seen == []
            store.release()
        assert seen[0].kind == "TaskSubmitted"


async def test_row_85_several_readers_have_all_and_two_of_one_feed_share_it() -> None:
    async with Engine(None, queues=[lane()]) as engine:
        feeds = [engine.events() for _ in range(3)]
        shared = engine.events()
        halves: list[list[int]] = [[], []]

        async def take(half: list[int]) -> None:
            while True:
                half.append((await anext(shared)).seq)

        async with trio.open_nursery() as nursery:
            for half in halves:
                nursery.start_soon(take, half)
            await drained(engine, "mail", 20)
            whole = [seqs(await some(feed, 60)) for feed in feeds]
            assert whole[0] == whole[1] == whole[2]
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert sorted(halves[0] + halves[1]) == whole[0]
        assert all(halves)


async def test_row_85_a_wait_that_is_cancelled_loses_nothing() -> None:
    async with Engine(None, queues=[lane()]) as engine:
        feed, seen = engine.events(), list[int]()
        for n in range(30):
            with trio.move_on_after(0.001 * (n % 3)):
                async for event in feed:
                    seen.append(event.seq)
            await engine.submit("mail", n)
        await engine.drain()
        seen += seqs(await some(feed, 90 - len(seen)))
        assert seen == list(range(seen[0], seen[0] + 90))


class Turns(trio.abc.Instrument):
    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task, self.count = task, 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


async def test_row_85_a_feed_in_which_nothing_happens_wakes_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with Engine(None, queues=[lane()], clock=TrioClock()) as engine, trio.open_nursery() as nursery:
        await drained(engine, "mail", 1)
        turns: list[Turns] = []

        async def follow(task_status: trio.TaskStatus[None]) -> None:
            turns.append(Turns(trio.lowlevel.current_task()))
            task_status.started()
            async for event in engine.events():
                turns[0].count += event.seq * 0

        await nursery.start(follow)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(turns[0])
        await trio.sleep(1_800)  # half an hour, in which the housekeeper has made its rounds
        trio.lowlevel.remove_instrument(turns[0])
        assert turns[0].count == 0
        nursery.cancel_scope.cancel()


# --- where it begins --------------------------------------------------------------------------------------------------------


async def test_row_85_since_a_cursor_an_event_a_seq_an_instant_or_the_first() -> None:
    async with Engine(None, queues=[lane()]) as engine:
        await drained(engine, "mail", 5)
        await trio.sleep(0.01)
        middle = datetime.now(UTC)
        await trio.sleep(0.01)
        await drained(engine, "mail", 5)
        everything = await some(engine.events("first"), 33)
        assert seqs(everything) == list(range(1, 34))
        assert [event.kind for event in everything[:3]] == ["EngineBooted", "QueueOpened", "QueueConfigured"]
        assert seqs(await some(engine.events(0), 33)) == seqs(everything)
        fifth = everything[4]
        for since in (fifth.cursor, fifth, fifth.seq):
            feed = engine.events(since=since)
            assert seqs(await some(feed, 28)) == list(range(6, 34))
            assert feed.cursor == everything[-1].cursor
        assert seqs(await some(engine.events(middle), 15)) == list(range(19, 34))
        ahead = engine.events(datetime.now(UTC) + timedelta(minutes=1))
        await engine.pause("mail")
        assert (await some(ahead, 1))[0].kind == "QueuePaused", "an instant that has not come is from now on"


@pytest.mark.parametrize(
    ("since", "kind", "says"),
    [
        (datetime(2026, 1, 1), ValueError, "aware datetime"),
        ("yesterday", ValueError, "is no cursor of a feed"),
        ("ø", ValueError, "is no cursor of a feed"),
        ("", ValueError, "is no cursor of a feed"),
        (-1, ValueError, "since names seq -1"),
        (9_999, ValueError, "holds seqs up to"),
        (True, TypeError, "since must be"),
        (1.5, TypeError, "since must be"),
    ],
)
async def test_row_85_what_names_no_place_is_refused(since: Any, kind: type[Exception], says: str) -> None:
    async with Engine(None, queues=[lane()]) as engine:
        with pytest.raises(kind, match=says):
            engine.events(since)


async def test_row_85_a_cursor_of_another_journal_is_refused(tmp_path: Path) -> None:
    async with Engine(tmp_path / "one", queues=[lane()]) as engine:
        await drained(engine, "mail", 2)
        cursor = (await some(engine.events("first"), 5))[-1].cursor
    async with Engine(tmp_path / "two", queues=[lane()]) as engine:
        await drained(engine, "mail", 2)
        with pytest.raises(ValueError, match="is not in this journal"):
            engine.events(cursor)


async def test_row_85_a_queues_feed_and_a_namespaces_show_their_own() -> None:
    async with Engine(None, queues=[lane("mail"), lane("other")]) as engine:
        plugin = engine.namespace("plugin")
        await plugin.create_queue(lane("inner"))
        with pytest.raises(QueueNotFound, match="no queue 'nowhere'"):
            engine.events(queue="nowhere")
        with pytest.raises(QueueNotFound):
            plugin.events(queue="mail")
        feeds = {name: engine.events(queue=name) for name in ("mail", "other", "plugin/inner")}
        feeds |= {"inner": plugin.events(), "local": plugin.events(queue="inner"), "all": engine.events()}
        for handler in ("mail", "other"):
            await drained(engine, handler, 4)
        handle = await plugin.submit("inner", 1)
        await handle.wait()
        found = {
            name: await some(feed, 27 if name == "all" else 3 if "in" in name or name == "local" else 12) for name, feed in feeds.items()
        }
        assert {event.queue for event in found["mail"]} == {"mail"}
        assert {event.queue for event in found["plugin/inner"]} == {"plugin/inner"}
        assert {event.queue for event in found["inner"] + found["local"]} == {"inner"}
        assert sorted(seqs(found["mail"] + found["other"] + found["inner"])) == seqs(found["all"])
        await engine.pause("mail")
        assert (await some(feeds["all"], 1))[0].kind == "QueuePaused"
        with trio.move_on_after(0.05) as scope:
            await anext(feeds["inner"])
        assert scope.cancelled_caught, "that is no business of the plugin's"


async def test_row_85_events_are_values() -> None:
    async with Engine(None, queues=[lane()]) as engine:
        feed = engine.events()
        await drained(engine, "mail", 1)
        event = (await some(feed, 1))[0]
        assert pickle.loads(pickle.dumps(event)) == event
        assert pickle.loads(pickle.dumps(event)).cursor == event.cursor
        assert isinstance(feed, EventFeed)
        with pytest.raises(AttributeError):
            event.seq = 1  # type: ignore[misc]
        with pytest.raises(TypeError):
            event.details["handler"] = "x"  # type: ignore[index]


# --- how it ends ----------------------------------------------------------------------------------------------------------------


async def test_row_85_leaving_the_engine_ends_it() -> None:
    ended: list[BaseException] = []

    async def follow(feed: EventFeed) -> None:
        try:
            async for _ in feed:
                pass
        except EngineStopped as error:
            ended.append(error)

    async with trio.open_nursery() as nursery, Engine(None, queues=[lane()]) as engine:
        for _ in range(2):
            nursery.start_soon(follow, engine.events())
        idle = engine.events()
        await drained(engine, "mail", 1)
    assert len(ended) == 2
    with pytest.raises(EngineStopped):
        await anext(idle)
    with pytest.raises(EngineStopped):
        engine.events()


async def test_row_85_a_journal_that_fails_ends_it_with_its_error() -> None:
    class Failing(MemoryStore):
        broken = False

        def begin_append(self, batch: Any, done: Callable[[BaseException | None], None]) -> None:
            if self.broken:
                done(OSError("the disk is gone"))
            else:
                super().begin_append(batch, done)

    store, told = Failing(), list[BaseException]()

    async def follow(feed: EventFeed) -> None:
        try:
            async for _ in feed:
                pass
        except EngineStopped as error:
            told.append(error)

    with pytest.raises(OSError, match="the disk is gone"):
        async with Engine(None, queues=[lane()], store=store) as engine, trio.open_nursery() as nursery:
            nursery.start_soon(follow, engine.events())
            await trio.testing.wait_all_tasks_blocked()
            store.broken = True
            with pytest.raises(OSError, match="the disk is gone"):
                await engine.submit("mail", 1)
            await trio.testing.wait_all_tasks_blocked()
    assert "the disk is gone" in str(told[0])


async def test_row_85_a_handler_can_follow_its_own_engine() -> None:
    queue = Queue("q", concurrency=2)

    @queue.handler
    async def watcher(ctx: Context) -> str:
        feed = ctx.engine.events()
        await ctx.engine.submit("quick")
        async for event in feed:
            if event.kind == "TaskSucceeded":
                return event.kind
        return "never"

    @queue.handler
    async def quick() -> None: ...

    async with Engine(None, queues=[queue]) as engine:
        handle = await engine.submit(watcher)
        assert await handle.result(timeout=10) == "TaskSucceeded"


# --- over restarts ---------------------------------------------------------------------------------------------------------------


async def test_row_85_a_cursor_goes_on_after_a_restart(tmp_path: Path) -> None:
    seen: list[int] = []
    cursor: str | int = 0
    for _ in range(4):
        async with Engine(tmp_path / "j", queues=[lane()]) as engine:
            await drained(engine, "mail", 10)
            async for event in engine.events(cursor):
                seen.append(event.seq)
                cursor = event.cursor
                if len(seen) % 17 == 0:
                    break
    async with Engine(tmp_path / "j", queues=[lane()]) as engine:
        async for event in engine.events(cursor):
            seen.append(event.seq)
            if event.kind == "QueueOpened" and event.details["boot"] == 5:
                break
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 120


def test_row_85_sigkill_takes_nothing_that_was_shown_and_the_cursor_goes_on(tmp_path: Path) -> None:
    path, notes = tmp_path / "j", tmp_path / "notes"
    for _ in range(3):
        victim = Program("feed", path, notes)
        victim.until("shown 400")
        victim.signal(signal.SIGKILL)
        victim.ended()
    lines = [line.split() for line in notes.read_text().splitlines() if line.count(" ") == 2 and line.endswith(";")]
    shown = [(int(seq), kind.rstrip(";")) for seq, _, kind in lines]
    with open_journal(path) as view:
        written = {seq: type(event).__name__ for seq, event in view.events()}
    assert len(shown) >= 1_200
    assert all(written[seq] == kind for seq, kind in shown), "what was shown was durable"
    # Each process goes on behind the last whole line of the one before.
    assert [two[0] - one[0] for one, two in pairwise(shown)] == [1] * (len(shown) - 1)

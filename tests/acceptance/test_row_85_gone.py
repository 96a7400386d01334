"""Row 85: what has left the journal before a feed read it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from journeyman import Engine, FeedTruncated
from tests.acceptance.feeds import drained, lane, seqs, some, until


async def test_row_85_a_cursor_that_prune_has_passed_raises_and_says_how_to_go_on() -> None:
    async with Engine(None, queues=[lane()]) as engine:
        feed = engine.events()
        await drained(engine, "mail", 10)
        events = await some(feed, 30)
        behind = engine.events(events[8])
        assert seqs(await some(behind, 1)) == [events[9].seq]
        await engine.prune(older_than=0)
        shown = await some(behind, 20)  # what it had read already
        assert seqs(shown) == seqs(events[10:])
        late = engine.events(events[8].cursor)
        for _ in range(2):  # again, until its reader has gone on elsewhere
            with pytest.raises(FeedTruncated, match="have left the journal") as raised:
                await anext(late)
        gone = raised.value
        assert (gone.first, gone.last) == (events[9].seq, events[-1].seq)
        assert pickle.loads(pickle.dumps(gone)).cursor == gone.cursor
        left = await some(engine.events(gone.cursor), 1)
        assert left[0].kind == "TasksPruned"
        await drained(engine, "mail", 1)
        going_on = await some(engine.events(left[0]), 3)
        assert [event.kind for event in going_on][-1] == "TaskSucceeded"
        # The one who is not behind it has lost nothing.
        assert (await until(feed, "TaskSucceeded"))[0].kind == "TasksPruned"


async def test_row_85_what_another_queue_has_lost_is_none_of_its_business() -> None:
    async with Engine(None, queues=[lane("mail"), lane("other")]) as engine:
        plugin = engine.namespace("plugin")
        await plugin.create_queue(lane("inner"))
        feed, inner = engine.events(queue="mail"), plugin.events()
        for _ in range(5):
            await drained(engine, "mail", 1)
            await drained(engine, "other", 1)
        handle = await plugin.submit("inner", 1)
        await handle.wait()
        start = feed.cursor
        assert await engine.prune(older_than=0, queue="other") == 5
        assert seqs(await some(feed, 15)) == seqs(await some(engine.events(start, queue="mail"), 15))
        assert len(await some(inner, 3)) == 3
        with pytest.raises(FeedTruncated):
            await until(engine.events(start), "TasksPruned")
        with pytest.raises(FeedTruncated):
            await until(engine.events(start, queue="other"), "TasksPruned")


async def test_row_85_who_goes_on_after_a_loss_is_shown_what_is_left_and_told_of_the_next() -> None:
    """Pruned are whole tasks in the middle, so something is left between what is gone."""
    queue = lane("mail", concurrency=1)

    @queue.handler
    async def fails(n: int) -> None:
        raise ValueError(str(n))

    async with Engine(None, queues=[queue]) as engine:
        start = engine.events()
        for n in range(6):
            handle = await engine.submit("fails" if n % 2 else "mail", n)
            await handle.wait()
        cursor = start.cursor
        assert await engine.prune(older_than=0) == 3  # the succeeded ones
        with pytest.raises(FeedTruncated) as raised:
            await anext(engine.events(cursor))
        rest = engine.events(raised.value.cursor)
        left = await until(rest, "TasksPruned")
        assert [event.kind for event in left[:-1]] == ["TaskSubmitted", "AttemptStarted", "TaskFailed"] * 3
        # Its cursors know of the loss too.
        again = await some(engine.events(left[1].cursor), len(left) - 2)
        assert seqs(again) == seqs(left[2:])
        assert [event.kind for event in await until(engine.events("first"), "TasksPruned")][-len(left) :] == [e.kind for e in left]
        # A loss after that is another.
        await drained(engine, "mail", 1)
        await engine.prune(older_than=0)
        with pytest.raises(FeedTruncated) as later:
            await until(engine.events(left[1].cursor), "EngineClosed")
        assert later.value.last > raised.value.last


async def test_row_85_bookkeeping_that_was_compacted_is_missed_too(tmp_path: Path) -> None:
    path = tmp_path / "j"
    async with Engine(path, queues=[lane("mail"), lane("other")]) as engine:
        start = engine.events().cursor
        for _ in range(120):
            await engine.pause("mail")
            await engine.resume("mail")
        await drained(engine, "other", 1)
        whole = await some(engine.events(start), 243)
        await engine.prune(older_than=0)  # takes a checkpoint, after which bookkeeping may go
        await engine.prune(older_than=0)
        await drained(engine, "other", 1)
    async with Engine(path, queues=[lane("mail"), lane("other")]) as engine:
        await engine.prune(older_than=0)
        gone = [event.seq for event in whole if event.kind in ("QueuePaused", "QueueResumed")]
        session = engine._opened().session
        await session.runtime.snapshotter.take()
        await session.runtime.housekeeper.prune_expired()
        with pytest.raises(FeedTruncated) as raised:
            await until(engine.events(start, queue="mail"), "EngineClosed")
        assert raised.value.last >= gone[-1]
        cursor = raised.value.cursor
    async with Engine(path, queues=[lane("mail"), lane("other")]) as engine:  # and a restart knows it still
        with pytest.raises(FeedTruncated):
            await until(engine.events(start, queue="mail"), "EngineClosed")
        assert (await some(engine.events(cursor, queue="mail"), 1))[0].kind == "QueueOpened"

"""Group commit: who shares a commit with whom, and that nobody is told anything early."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from journeyman.actors.call import Call
from journeyman.actors.writer import Step, Writer
from journeyman.journal.log import Journal
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done, Table
from journeyman.kernel.events import QueuePaused


class Held(MemoryStore):
    """Commits when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Batch, Done]] = []

    def begin_append(self, batch: Batch, done: Done) -> None:
        self.waiting.append((batch, done))

    async def release(self) -> int:
        """Let the commit under way happen; how many events it held."""
        batch, done = self.waiting.pop()
        assert not self.waiting, "one commit at a time"
        self.commit(batch)
        done(None)
        await trio.testing.wait_all_tasks_blocked()
        return sum(len(items) for table, items, _ in batch.puts if table is Table.EVENTS)


class Desk:
    def __init__(self) -> None:
        self.store = Held()
        self.journal = Journal(self.store)
        self.failures: list[BaseException] = []
        self.writer = Writer(self.journal, self.store, self.failures.append)

    def record(self) -> Call[None]:
        """One event and one caller who waits for it."""
        step, call = Step(), Call[None]()
        seq = self.journal.take(1)
        step.items.append((seq, QueuePaused(1, "q", seq, 1, "", "")))
        step.effects.append((Call.settle, call))
        self.writer.record(step)
        return call


async def test_what_comes_during_a_commit_shares_the_next() -> None:
    desk = Desk()
    first = desk.record()
    others = [desk.record() for _ in range(5)]
    assert await desk.store.release() == 1
    assert first.settled
    assert not any(call.settled for call in others)
    assert await desk.store.release() == 5
    assert all(call.settled for call in others)
    assert desk.writer.idle


async def test_a_few_wait_for_the_crowd_that_is_about_to_speak() -> None:
    desk = Desk()
    desk.record()
    crowd = [desk.record() for _ in range(16)]
    await desk.store.release()
    straggler = desk.record()  # comes while the crowd's commit is under way

    async def again(call: Call[None]) -> None:
        await call.wait()
        desk.record()

    async with trio.open_nursery() as nursery:
        for call in crowd:
            nursery.start_soon(again, call)
        await trio.testing.wait_all_tasks_blocked()
        assert await desk.store.release() == 16
        await trio.testing.wait_all_tasks_blocked()
    first = await desk.store.release()
    assert first > 1, "the straggler alone would have made the crowd wait"
    assert straggler.settled
    while desk.store.waiting:
        await desk.store.release()
    assert desk.writer.idle


async def test_what_was_put_off_goes_alone_if_nobody_comes_and_is_not_durable_before() -> None:
    desk = Desk()
    desk.record()
    for _ in range(16):
        desk.record()
    await desk.store.release()
    late = desk.record()
    _, done = desk.store.waiting.pop()
    done(None)
    await trio.lowlevel.checkpoint()  # the crowd is being served; the late one is neither under way nor durable
    assert not desk.writer.idle
    told = trio.Event()

    async def ask() -> None:
        await desk.writer.settled()
        told.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert desk.store.waiting, "it goes alone, two turns later"
        assert not told.is_set()
        assert not late.settled
        await desk.store.release()
        assert late.settled
        await told.wait()


async def test_sealing_hands_everything_over_first() -> None:
    desk = Desk()
    desk.record()
    for _ in range(16):
        desk.record()
    await desk.store.release()
    seen: list[tuple[int, int]] = []
    desk.writer.after_sealing(lambda _: seen.append((desk.journal.sealed, desk.journal.next_seq - 1)), None)
    desk.record()
    await desk.store.release()
    assert seen, "it ran with the crowd's commit"
    assert seen[0][0] == seen[0][1], "nothing decided was left behind"
    await desk.store.release()


async def test_a_failed_append_fails_every_caller_and_takes_nothing_more() -> None:
    desk = Desk()
    calls = [desk.record() for _ in range(3)]
    _, done = desk.store.waiting.pop()
    done(OSError("no"))
    await trio.testing.wait_all_tasks_blocked()
    assert all(call.settled for call in calls)
    assert [str(error) for error in desk.failures] == ["no"]
    late = [desk.record(), Call[None](), Call[None]()]
    desk.writer.after(Call.settle, late[1])
    desk.writer.after_sealing(Call.settle, late[2])
    assert not desk.store.waiting
    for call in late:  # who asks from outside the block, where nothing cancels it, must not wait for ever
        with trio.fail_after(1), pytest.raises(OSError, match="no"):
            await call.wait()

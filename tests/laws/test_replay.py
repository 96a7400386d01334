"""Laws 1 and 7: the live state is the fold of the journal, and no event of it ever breaks a limit."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest
import trio
import trio.testing

from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.recovery import recover
from journeyman.journal.store import Batch, Done
from journeyman.kernel.world import JournalState, fold
from tests.laws.errands import CONCURRENCY, MAX_CONCURRENCY, Errands, assert_consistent, assert_recovered_is_live

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_recovered_state_is_the_live_one(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    errands, store = Errands(seed), MemoryStore()
    for _ in range(2):  # the second boot begins with what recovery read
        async with errands.engine(store) as engine:
            await errands.day(engine)
            assert errands.shell is not None
            while not errands.shell.writer.idle:  # the queues go on meanwhile; compare at a moment when nothing is under way
                await errands.shell.writer.settled()
            assert_recovered_is_live(store, errands.shell)
    assert_consistent(store)


class Photographed(MemoryStore):
    """Keeps what a kill after this or that commit would have left."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = Random(seed)
        self.images: list[MemoryStore] = []

    def begin_append(self, batch: Batch, done: Done) -> None:
        self.commit(batch)
        if self.chance.random() < 0.05:
            image = MemoryStore()
            image.tables, image.marks = deepcopy(self.tables), dict(self.marks)
            self.images.append(image)
        done(None)


@pytest.mark.parametrize("seed", SEEDS[:3])
async def test_so_is_what_a_kill_after_any_commit_leaves(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    errands, store = Errands(seed), Photographed(seed)
    async with errands.engine(store) as engine:
        await errands.day(engine)
    assert store.images
    cut_short = 0
    for image in store.images:
        cut_short += assert_consistent(image).report.cut_short
        before = Errands(seed)
        async with before.engine(image) as engine:  # and an engine goes on from there
            await before.day(engine, steps=5)
        assert_consistent(image)


async def test_no_event_breaks_a_limit(autojump_clock: trio.testing.MockClock) -> None:
    most = 0
    for seed in SEEDS:
        errands, store = Errands(seed), MemoryStore()
        async with errands.engine(store) as engine:
            await errands.day(engine, steps=200)
        most = max(most, most_at_once(store))
    assert most > 1, "the test proves nothing if never more than one ran"  # of the tasks that prune has left, on some day


def most_at_once(store: MemoryStore) -> int:
    """The highest number of running attempts after any event; asserts that each queue and the engine kept to their limits."""
    journal = recover(store).journal
    state, most = JournalState(), 0
    for chunk in journal.walk(1, journal.next_seq - 1):
        for seq, event in chunk:
            assert isinstance(event, tuple)
            fold(state, event, seq)
            running = {name: len(queue.running) for name, queue in state.queues.items()}
            assert all(running[name] <= CONCURRENCY[name] for name in running), (seq, running)
            assert sum(running.values()) <= MAX_CONCURRENCY, (seq, running)
            most = max(most, sum(running.values()))
    return most

"""The state at any moment is the fold of the events that had been recorded by then."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from journeyman.engine import Engine, Queue, Retention
from journeyman.journal.changes import QueueChange
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.log import seq_key
from journeyman.journal.past import Walk, unexpired
from journeyman.journal.store import Batch, Table
from journeyman.journal.view import JournalView
from journeyman.kernel.events import AttemptStarted, ClockStepped, Event, QueuePaused, TaskSubmitted
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.world import JournalState, fold
from journeyman.sim import Faults, World, simulate
from tests.acceptance.virtual import TrioClock
from tests.journal.driver import Driver
from tests.journal.recorded import RecordedStore, poured
from tests.laws.errands import Errands

FOREVER = Retention(succeeded=None, failed=None, cancelled=None, interrupted=None)


class Hoard(Errands):
    """Days after which everything is still there: nothing expires, and nobody prunes."""

    prunes = False

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.queues = [Queue("letters", concurrency=3, retention=FOREVER), Queue("parcels", concurrency=2, retention=FOREVER)]
        self.run, self.carry = self.queues[0].handler(name="run")(self._run), self.queues[1].handler(name="carry")(self._carry)


def at_every_seq(view: JournalView, live: list[tuple[int, Event]], check: Any) -> int:
    """Fold the live events, and check the past of each seq against that; how many there were."""
    state = JournalState()
    for seq, event in live:
        fold(state, event, seq)
        check(view, seq, event.at, state)
    return len(live)


def is_the_fold(view: JournalView, seq: int, at: int, live: JournalState) -> None:
    """The whole past of `seq`, and its numbers."""
    past = view.state_at(seq)
    assert past.state == live, seq
    assert (past.at, past.unknown) == (at, {})
    thin = view.state_at(seq, ended=False)
    for name, queue in live.queues.items():
        expected: Counter[State] = Counter()
        for state, count in queue.counts(at).items():
            expected[state] = count if state not in TERMINAL else sum(unexpired(task, at) for task in queue.listed(state, at))
        assert past.counts(name) == dict(expected) == thin.counts(name), (seq, name)
        assert {id for id, task in queue.tasks.items() if task.state not in TERMINAL} == set(thin.state.queues[name].tasks)
        assert thin.state.queues[name].facts() == queue.facts()


@pytest.mark.parametrize("seed", range(2))
async def test_every_moment_of_a_random_day(seed: int, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    store, errands = RecordedStore(), Hoard(seed)
    for _ in range(2):
        async with errands.engine(store) as engine:
            await errands.day(engine, steps=40)
    with poured(store, tmp_path / "jobs") as view:
        assert at_every_seq(view, store.live, is_the_fold) > 100  # how many a day has is chance: 146 to 200 were seen
        with view.newest() as found:
            assert 0 < found.report.checkpoint_seq < view.last_seq, "both ways to begin are to be tried"


def test_every_moment_of_a_simulated_life(tmp_path: Path) -> None:
    disk = RecordedStore()

    async def life(world: World) -> None:
        world._disks["journal"] = disk
        queue = Queue("q", concurrency=2, retention=FOREVER)

        @queue.handler
        async def work(n: int) -> None:
            await trio.sleep(n)

        async with world.engine(queues=[queue]) as engine:
            for n in range(6):
                await engine.submit(work.using(delay=n % 3), n)
            await trio.sleep(4)
            for seconds in (500, -9_000):
                await engine.submit(work.using(delay=100), 1)
                world.crash()
                world.step_clock(seconds)
                await engine.ready()
                await trio.sleep(90)
            world.crash()
            await engine.ready()
            await engine.drain()

    simulate(life, seed=5, faults=Faults.none())
    with poured(disk, tmp_path / "jobs") as view:
        assert sum(isinstance(event, ClockStepped) for _, event in disk.live) == 1
        assert at_every_seq(view, disk.live, is_the_fold) > 20


def retained_is_the_fold(view: JournalView, seq: int, _at: int, live: JournalState) -> None:
    """The past of `seq` for tasks that prune has left, and what is known of queues."""
    past, now = view.state_at(seq), view.state_at(view.last_seq)
    known = {id for queue in now.state.queues.values() for id in queue.tasks}
    for name, queue in live.queues.items():
        found = past.state.queues.get(name)
        expected = {id: task.row() for id, task in queue.tasks.items() if id in known}
        assert ({} if found is None else {id: task.row() for id, task in found.tasks.items()}) == expected, seq
        if found is not None:
            assert (found.policy, found.paused, found.parked_until) == (queue.policy, queue.paused, queue.parked_until)


async def test_what_prune_has_left_is_as_it_was(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    store, errands = RecordedStore(), Errands(3)
    async with errands.engine(store) as engine:
        await errands.day(engine, steps=60)
        await engine.prune(older_than=0)  # few days, but some, end without any
    with poured(store, tmp_path / "jobs") as view:
        assert len(list(view.events())) < len(store.live), "nothing was pruned"
        at_every_seq(view, store.live, retained_is_the_fold)


async def test_what_a_compaction_took_is_known_again_or_named(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Policies and pauses of before are in the JournalCompacted as far as they still held then; the others are not known."""
    queue, other, store = Queue("q", concurrency=2, retention=FOREVER), Queue("other", retention=FOREVER), RecordedStore()

    @queue.handler
    async def work() -> None: ...

    async with Engine(None, [queue, other], store=store, clock=TrioClock()) as engine:
        await (await engine.submit(work)).wait()
        await engine.pause("other", reason="lunch")
        early = store.live[-1][0]
        await engine.configure("q", concurrency=7)
        await engine.pause("q")
        late = store.live[-1][0]
    state = JournalState()
    expected = {}
    for seq, event in store.live:
        fold(state, event, seq)
        expected[seq] = {name: (one.policy, one.paused) for name, one in state.queues.items()}
    folded_away(store)
    with poured(store, tmp_path / "jobs") as view:
        assert not [event for _, event in view.events() if isinstance(event, QueuePaused)], "nothing was compacted"
        past = view.state_at(late)
        assert past.unknown == {"": ("boots",)}
        assert {name: (one.policy, one.paused) for name, one in past.state.queues.items()} == expected[late]
        past = view.state_at(early)
        assert past.unknown == {"": ("boots",), "q": ("policy", "pauses")}
        assert (past.state.queues["other"].policy, past.state.queues["other"].paused) == expected[early]["other"]
        assert past.counts("q")[State.SUCCEEDED] == 1
        assert view.state_at(view.last_seq).unknown == {}
        *_, of_queue, _ = view.diff(early, late)
        assert isinstance(of_queue, QueueChange)
        assert (of_queue.queue, of_queue.unknown, of_queue.fields) == ("q", ("policy", "pauses"), {})


def folded_away(store: RecordedStore) -> None:
    """A checkpoint, and a compaction of all bookkeeping before it, as the housekeeper of an engine that has run for years does it."""
    driver = Driver(store, 1, boot_events=False)
    driver.whole_checkpoint(100)
    assert driver.compact()
    driver.flush()


async def test_a_prune_while_the_past_is_read(autojump_clock: trio.testing.MockClock) -> None:
    """Half of a task's events were read, the rest has gone: it is no task of that past."""
    store, errands = RecordedStore(), Hoard(5)
    async with errands.engine(store) as engine:
        await errands.day(engine, steps=30)
    state = JournalState()
    for seq, event in store.live:
        fold(state, event, seq)
    victim = next(task for queue in state.queues.values() for task in queue.tasks.values() if len(task.seqs) > 2)
    walk = Walk(store, 0, ended=False)
    walk.run(victim.seqs[0])
    batch = Batch()
    batch.delete(Table.EVENTS, [seq_key(seq) for seq in victim.seqs])
    store.commit(batch)
    walk.run(store.live[-1][0])
    assert victim.id in walk.state.queues[victim.queue].tasks
    walk.without_pruned()
    assert victim.id not in walk.state.queues[victim.queue].tasks


async def test_a_record_that_is_missing_is_damage_and_no_traceback(autojump_clock: trio.testing.MockClock) -> None:
    store, errands = RecordedStore(), Hoard(6)
    async with errands.engine(store) as engine:
        await errands.day(engine, steps=10)
    seq, lost = next((seq, event) for seq, event in store.live if isinstance(event, TaskSubmitted))
    batch = Batch()
    batch.delete(Table.EVENTS, [seq_key(seq)])
    store.commit(batch)
    started = next(seq for seq, event in store.live if isinstance(event, AttemptStarted) and event.task == lost.task)
    with pytest.raises(JournalCorrupt, match=f"record {started} speaks of a task"):
        Walk(store, 0, ended=False).run(started)

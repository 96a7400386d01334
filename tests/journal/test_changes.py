"""`JournalView.diff`: what changed between two moments is the difference of the two states."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from journeyman.engine import Constant, Engine, Queue, Retry
from journeyman.journal.changes import JournalChange, QueueChange, TaskChange
from journeyman.journal.past import Past
from journeyman.journal.view import JournalView
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL, State, observed
from tests.acceptance.virtual import TrioClock
from tests.journal.recorded import RecordedStore, poured
from tests.journal.test_past import Hoard


def states(past: Past) -> dict[str, State]:
    return {
        id_text(id): observed(task.state, task.due_at, past.at) for queue in past.state.queues.values() for id, task in queue.tasks.items()
    }


def check(view: JournalView, a: int, b: int) -> None:
    """Compare the diff with the two whole states."""
    *found, last = view.diff(a, b)
    before, after = view.state_at(a), view.state_at(b)
    old, new = states(before), states(after)
    assert isinstance(last, JournalChange)
    assert (last.a, last.b, last.boots) == (a, b, after.state.boots - before.state.boots)
    tasks = [change for change in found if isinstance(change, TaskChange)]
    assert len({change.id for change in tasks}) == len(tasks), "one task is one line"
    told = {change.id: change for change in tasks}
    for id, state in new.items():
        if id not in old:
            assert told[id].what == ("added and ended" if state in TERMINAL else "added")
            assert told[id].fields["state"] == (None, state)
        elif old[id] is not state:
            assert told[id].fields["state"] == (old[id], state)
            assert told[id].what == ("retried" if old[id] in TERMINAL else "ended" if state in TERMINAL else "changed")
        elif id in told:
            assert "state" not in told[id].fields
    for change in found:
        if isinstance(change, QueueChange):
            for place, past in enumerate((before, after)):
                assert {state: counts[place] for state, counts in change.counts.items()} == past.counts(change.queue)


@pytest.mark.parametrize("seed", range(2))
async def test_a_diff_is_the_difference_of_two_states(seed: int, tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    store, errands, chance = RecordedStore(), Hoard(seed + 10), Random(seed)
    for _ in range(2):
        async with errands.engine(store) as engine:
            await errands.day(engine, steps=60)
    with poured(store, tmp_path / "jobs") as view:
        last = view.last_seq
        pairs = [(0, 0), (0, last), (last, last), *(sorted(chance.sample(range(last + 1), 2)) for _ in range(60))]
        for a, b in pairs:
            check(view, a, b)
        with pytest.raises(ValueError, match="the other way round"):
            view.diff(last, 1)
        with pytest.raises(ValueError, match="the journal ends at"):
            view.diff(1, last + 1)


async def test_policies_pauses_and_tasks_that_came_due(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", concurrency=2, retry=Retry(attempts=2, backoff=Constant(60), jitter=0)), RecordedStore()

    @queue.handler
    async def work() -> None:
        raise ValueError("no")

    async with Engine(None, [queue], store=store, clock=TrioClock()) as engine:
        failed = await engine.submit(work)
        await trio.sleep(1)
        later = await engine.submit(work.using(delay=30))
        await trio.sleep(1)
        a = store.live[-1][0]
        await engine.pause("q", reason="lunch", by="ann")
        await engine.configure("q", concurrency=5, reason="more", by="ann")
        await trio.sleep(100)
        await engine.submit(work)
        b = store.live[-1][0]
    with poured(store, tmp_path / "jobs") as view:
        found = list(view.diff(a, b))
        changed = {change.id: change for change in found if isinstance(change, TaskChange)}
        assert changed[later.id].fields == {"state": (State.SCHEDULED, State.PENDING)}, "nothing happened to it but time"
        assert changed[failed.id].fields == {"state": (State.RETRYING, State.PENDING)}
        (of_queue,) = [change for change in found if isinstance(change, QueueChange)]
        assert of_queue.fields["policy.concurrency"] == (2, 5)
        before, after = of_queue.fields["paused"]
        assert (before, after["by"], after["reason"]) == (None, "ann", "lunch")
        assert set(of_queue.fields) == {"policy.concurrency", "paused"}
        assert of_queue.counts[State.PENDING] == (0, 3)

"""What `Follower.newest` tells beside an engine that writes, takes checkpoints and prunes is what recovery tells of the same commit."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from journeyman.engine.reading import Filters, Stock
from journeyman.journal import following
from journeyman.journal.following import Follower
from journeyman.journal.recovery import recover
from journeyman.journal.view import JournalView
from journeyman.journal.watching import TopModel
from journeyman.kernel.lifecycle import State
from tests.cli.beside import Beside

BUSY = textwrap.dedent("""
    import random, sys, trio
    from journeyman import Constant, Engine, Queue, Retention, Retry
    kept = Retention(succeeded=0.5, failed=None, cancelled=1.0)
    q = Queue("q", concurrency=8, retry=Retry(attempts=2, backoff=Constant(0.05), jitter=0), retention=kept)
    r = Queue("r", concurrency=2, retention=kept)

    @q.handler
    async def work(number: int) -> None:
        if number % 3 == 0:
            raise ValueError(number)

    @r.handler
    async def slow(number: int) -> None:
        await trio.sleep(0.02)

    async def main():
        dice = random.Random(7)
        async with Engine(sys.argv[1], [q, r]) as engine:
            print("ready", flush=True)
            number = 0
            while True:
                number += 1
                await engine.submit_many([work.bind(n) for n in range(dice.randrange(1, 40))])
                last = await engine.submit(slow.using(delay=dice.choice((0, 0.1, 30))), number)
                if dice.random() < 0.3:
                    await engine.retry_all("q", state="failed")
                if dice.random() < 0.3:
                    await engine.clear("r")
                if dice.random() < 0.2:
                    await engine.prune(older_than=0.2)
                await trio.sleep(0.005)

    trio.run(main)
""")


@pytest.mark.parametrize("far", [300_000, 50])  # recovered once; recovered again and again
def test_row_65_a_follower_and_recovery_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: int) -> None:
    monkeypatch.setattr(following, "_FAR", far)
    path = tmp_path / "jobs"
    child = subprocess.Popen([sys.executable, "-c", BUSY, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    follower = Follower(path)
    looks, checkpoints, listed = 0, set(), 0
    try:
        assert child.stdout.readline() == "ready\n"
        until = time.monotonic() + 3
        while time.monotonic() < until:
            with follower.newest() as newest:
                found = recover(newest.view.store)
                assert newest.picture.last_seq == found.journal.sealed
                checkpoints.add(found.report.checkpoint_seq)
                for queue in found.state.queues.values():
                    queue.advance(newest.now)
                for state in State:
                    mine = Stock(list(newest.state.queues.values()), newest.catalog, newest.now)
                    theirs = Stock(list(found.state.queues.values()), found.catalog, newest.now)
                    filters = Filters(states=frozenset({state}))
                    ids = [task.id for task in mine.newest(filters, None)]
                    assert ids == [task.id for task in theirs.newest(filters, None)], state
                    assert len(ids) == newest.picture.total(state)
                    assert all(newest.task(id) is not None for id in ids)
                    listed += len(ids)
            looks += 1
    finally:
        follower.close()
        child.kill()
        child.wait()
        child.stdout.close()
    assert looks > 5
    assert listed > 1_000
    assert len(checkpoints) > 1


class Counting(Follower):
    """Counts how often it recovers."""

    recoveries = 0

    def _attach(self, view: JournalView) -> TopModel:
        self.recoveries += 1
        return super()._attach(view)


def test_a_dead_letter_that_is_retried_after_it_was_settled_is_followed_without_recovering_again(tmp_path: Path) -> None:
    follower = Counting(tmp_path / "jobs")
    with Beside(tmp_path / "jobs") as engine:
        engine.tell("open")
        engine.tell("submit", 40)
        follower.refresh()
        engine.tell("close")  # which takes a checkpoint
        follower.refresh()
        engine.tell("open")
        engine.tell("retry")
        engine.tell("close")
        picture = follower.refresh()
        assert picture.total(State.FAILED) == 4
        engine.tell("open")
        engine.tell("prune")
        counts = json.loads(engine.tell("counts"))
        found = {queue.name: {state.value: n for state, n in queue.counts.items()} for queue in follower.refresh().queues}
        assert found == counts
    follower.close()
    assert follower.recoveries == 1

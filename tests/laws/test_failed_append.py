"""Law 5: a failed append ends the authority of the process.  Nobody is told of anything that came after it, and the next open recovers."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

from journeyman.engine import Engine, EngineStopped, Queue, State
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done
from tests.laws.errands import assert_consistent


class FailingStore(MemoryStore):
    """The n-th commit from `arm` on raises; whether it happened all the same is up to the disk, so both are tried."""

    def __init__(self, happened: bool) -> None:
        super().__init__()
        self.happened = happened
        self.left = -1
        self.broken = False
        self.given_after = 0

    def arm(self, n: int) -> None:
        self.left = n

    def begin_append(self, batch: Batch, done: Done) -> None:
        if self.broken:
            self.given_after += 1
            done(OSError(5, "Input/output error"))
        elif self.left == 0:
            self.broken = True
            if self.happened:
                self.commit(batch)
            done(OSError(5, "Input/output error"))
        else:
            self.left -= 1
            super().begin_append(batch, done)


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("n", range(8))
async def test_a_failed_commit_ends_everything(n: int, happened: bool, autojump_clock: trio.testing.MockClock) -> None:
    store, lane = FailingStore(happened), Queue("q", concurrency=3)
    acknowledged: list[str] = []
    told: list[str] = []

    @lane.handler
    async def work(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number

    async def submit(engine: Engine) -> None:
        with suppress(OSError, EngineStopped):
            for number in range(10):
                handle = await engine.submit(work, number)
                acknowledged.append(handle.id)
                await handle.result()
                told.append(handle.id)

    with pytest.raises(OSError, match="Input/output error"):
        async with Engine("x", [lane], store=store) as engine:
            store.arm(n)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(submit, engine)
            await trio.sleep_forever()  # the block is ended, not left to hang
    assert store.given_after == 0, "the writer gave the store nothing more"

    store.broken, store.left = False, -1  # a new process on a healed disk
    assert_consistent(store)
    async with Engine("x", [lane], store=store) as engine:
        await engine.drain(timeout=10)
        assert {(await engine.get(id)).state for id in acknowledged} <= {State.SUCCEEDED}
        assert [(await engine.get(id)).attempt for id in told] == [1] * len(told), "what was told did happen, and was not done again"


async def test_what_memory_has_beyond_the_disk_is_not_read_after_a_failed_commit(autojump_clock: trio.testing.MockClock) -> None:
    """Found by simulation (swarm seed 20843): a count that came right after the failure saw the task that was not stored."""
    store, lane = FailingStore(happened=False), Queue("q")
    seen: list[int] = []

    @lane.handler
    async def work() -> None: ...

    async def ask(engine: Engine) -> None:
        with suppress(OSError, EngineStopped):
            await engine.submit(work)
        with suppress(OSError, EngineStopped):
            seen.append(await engine.count())

    with pytest.raises(OSError, match="Input/output error"):
        async with Engine("x", [lane], store=store) as engine:
            store.arm(0)
            await ask(engine)
    assert seen == []

"""An engine in a thread of its own: callers who wait no longer, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import (
    Engine,
    EngineStopped,
    JournalLocked,
    Queue,
    QueueExists,
    State,
)
from journeyman.engine.background import BackgroundEngine, TookTooLong
from tests.acceptance.stores import WatchedStore
from tests.engine.callers import Work, in_threads

# row 94


# --- waiting, and no longer ---------------------------------------------------------------------------------------------------


def test_timeouts_are_pythons_and_trios(work: Work) -> None:
    with BackgroundEngine(None, [work.queue], grace=0) as engine:
        handle = engine.submit(work.stays)
        for kind in (TimeoutError, trio.TooSlowError, TookTooLong):
            with pytest.raises(kind):
                handle.result(timeout=0.01)
        with pytest.raises(TookTooLong):
            engine.drain(timeout=0.01)
        with pytest.raises(TimeoutError):
            asyncio.run(engine.aio.wait(handle.id, 0.01))
        with pytest.raises(ValueError, match="timeout"):
            handle.wait(timeout=-1)


def test_any_call_can_have_a_time_limit() -> None:
    store, lane = WatchedStore(), Queue("q")

    @lane.handler
    async def add(a: int) -> int:
        return a + 1

    with BackgroundEngine("x", [lane], store=store) as engine:
        store.hold = True
        began = time.monotonic()
        id = "01890a5d-ac96-774b-bcce-b302099a8057"
        with pytest.raises(TookTooLong, match=r"no answer within 0.2 s.*id="):
            engine.within(0.2).submit(add.using(id=id), 1)
        assert 0.2 <= time.monotonic() - began < 10
        threading.Timer(0.1, store.release).start()
        handle = engine.submit(add.using(id=id), 1)
        assert (handle.result(10), engine.count()) == (2, 1), "asked again, done once"
        assert engine.within(10).submit(add, 2).result(timeout=10) == 3


def test_a_cancelled_coroutine_gives_its_wait_up(work: Work) -> None:
    async def main() -> None:
        async with BackgroundEngine(None, [work.queue], grace=0) as engine:
            handle = await engine.aio.submit(work.stays)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await handle.wait()
            waiting = asyncio.create_task(handle.wait())
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await engine.aio.get(handle.id)).state is State.RUNNING, "the task itself goes on"
            await handle.cancel()
            assert (await handle.wait(10)).state is State.CANCELLED

    asyncio.run(main())


def test_a_loop_that_is_gone_harms_nobody(work: Work) -> None:
    with BackgroundEngine(None, [work.queue]) as engine:
        loop = asyncio.new_event_loop()
        handle = loop.run_until_complete(engine.aio.submit(work.waits))
        left = loop.create_task(handle.wait())
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()  # under one that waits
        work.gate.set()
        assert engine.wait(handle.id, 10).result == "waited"
        assert not left.done()
        left.get_coro().close()  # type: ignore[union-attr]  # or its end would be reported by asyncio


# --- stopping -----------------------------------------------------------------------------------------------------------------


def test_a_stop_waits_for_what_runs_and_says_whether_it_could_finish(work: Work) -> None:
    engine = BackgroundEngine(None, [work.queue]).start()
    handle = engine.submit(work.waits)
    work.entered.wait(10)
    threading.Timer(0.5, work.gate.set).start()
    waited, stopped = in_threads(lambda: handle.result(), lambda: engine.stop(grace=30))
    assert (waited, stopped) == ("waited", True)

    engine.start()
    engine.submit(work.stays)
    assert engine.stop(grace=0.01) is False
    with pytest.raises(ValueError, match="grace"):
        engine.start().stop(grace=-1)
    assert engine.count() >= 0, "a refused stop stops nothing"
    engine.stop()


def test_waiting_callers_are_told_of_the_stop(work: Work) -> None:
    engine = BackgroundEngine(None, [work.queue], grace=0).start()
    handle = engine.submit(work.stays)
    work.entered.wait(10)

    async def there() -> Any:
        return await engine.aio.wait(handle.id)

    def stop() -> bool:
        time.sleep(0.1)
        return engine.stop()

    said = in_threads(lambda: handle.wait(), lambda: asyncio.run(there()), stop)
    assert [type(each) for each in said] == [EngineStopped, EngineStopped, bool]


def test_a_straggler_keeps_the_journal_until_it_ends(work: Work, tmp_path: Path) -> None:
    engine = BackgroundEngine(tmp_path, [work.queue], grace=0).start()
    engine.submit(work.waits)
    work.entered.wait(10)
    assert engine.stop() is False, "and does not hang"
    work.gate.set()
    deadline = time.monotonic() + 20
    while True:
        try:
            engine.start()
            break
        except JournalLocked:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert engine.list()[0].attempt >= 1
    engine.stop()


def test_a_cancelled_start_leaves_no_lock_behind(work: Work, tmp_path: Path) -> None:
    async def main() -> None:
        engine = BackgroundEngine(tmp_path, [work.queue])
        starting = asyncio.create_task(engine.aio.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        async with Again(engine):
            assert await engine.aio.count() == 0

    class Again:
        def __init__(self, engine: BackgroundEngine) -> None:
            self.engine = engine

        async def __aenter__(self) -> None:
            await self.engine.__aenter__()

        async def __aexit__(self, *_: Any) -> None:
            await self.engine.__aexit__(None, None, None)

    asyncio.run(main())


def test_a_cancelled_stop_cuts_the_grace_short(work: Work) -> None:
    async def main() -> None:
        engine = BackgroundEngine(None, [work.queue])
        await engine.aio.start()
        await engine.aio.submit(work.stays)
        await asyncio.to_thread(work.entered.wait, 10)
        stopping = asyncio.create_task(engine.aio.stop(grace=3600))
        await asyncio.sleep(0.05)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await engine.aio.stop() is False

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 10


def test_what_refuses_the_start_is_told_as_it_is(work: Work) -> None:
    twin = Work()
    for _ in range(2):
        with pytest.raises(QueueExists, match="twice"), BackgroundEngine(None, [work.queue, twin.queue]):
            raise AssertionError("it opened")


def test_starting_and_stopping_leaves_nothing_behind(work: Work, tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    engine = BackgroundEngine(tmp_path, [work.queue])
    for _ in range(3):
        with engine:
            assert engine.submit(work.add, 1).result(10) == 2
    before = held()
    for _ in range(10):
        with engine:
            assert engine.submit(work.add, 1).result(10) == 2
    after = held()
    assert after[0] <= before[0] + 1 and after[1] <= before[1] + 1


def test_the_same_journal_in_trio_afterwards(work: Work, tmp_path: Path) -> None:
    with BackgroundEngine(tmp_path, [work.queue]) as engine:
        id = engine.submit(work.add, 1).wait(10).id

    async def main() -> Any:
        async with Engine(tmp_path, [work.queue]) as engine:
            return (await engine.get(id)).result

    assert trio.run(main) == 2


def test_handlers_of_asyncio_fail_in_words(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    @work.queue.handler
    async def wrong() -> None:
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.CRITICAL, "journeyman"), BackgroundEngine(None, [work.queue]) as engine:
        task = engine.submit(wrong).wait(10)
        assert task.state is State.FAILED
        assert task.error is not None and "no running event loop" in task.error.message

"""An engine in a thread of its own: what its callers are told, whatever becomes of either side."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import (
    Context,
    DuplicateTask,
    EngineStopped,
    InvalidPayload,
    JournalFull,
    JournalLocked,
    Limits,
    Queue,
    State,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
)
from journeyman.engine.background import AioHandle, BackgroundEngine, BackgroundHandle
from journeyman.journal.memory_store import MemoryStore
from tests.acceptance.stores import WatchedStore
from tests.engine.callers import Work, in_threads
from tests.laws.test_failed_append import FailingStore

# row 94


# --- the calls ----------------------------------------------------------------------------------------------------------------


def test_the_blocking_door(work: Work, tmp_path: Path) -> None:
    with BackgroundEngine(tmp_path / "jobs", queues=[work.queue]) as engine:
        handle = engine.submit(work.add, 1, b=2)
        assert isinstance(handle, BackgroundHandle)
        assert handle.result(timeout=10) == 3
        assert engine.get(handle.id).result == 3
        assert engine.wait(handle.id, timeout=10).state is State.SUCCEEDED
        many = engine.submit_many([work.add.bind(1), ("add", (2,), {})])
        assert [each.result(10) for each in many] == [2, 3]
        follower = engine.submit(work.add.using(after=[handle, many[0]]), 5)
        assert follower.wait(10).after == (handle.id, many[0].id)
        engine.pause("q", reason="lunch", by="ann")
        waiting = engine.submit("add", a=3)
        assert engine.explain(waiting.id).reasons[0].kind == "paused"
        waiting.cancel("not needed")
        with pytest.raises(TaskCancelled, match="not needed"):
            waiting.result(10)
        engine.resume("q")
        with pytest.raises(TaskFailed, match="ValueError"):
            engine.submit(work.fails).result(10)
        assert [engine.count(state=state) for state in ("succeeded", "failed", "cancelled")] == [4, 1, 1]
        assert engine.stats()["q"].counts[State.FAILED] == 1
        engine.tally()
        assert engine.measures().queues["q"].tally is not None
        assert engine.history(handle.id)[0].kind == "TaskSubmitted"
        assert engine.configure("q", concurrency=3).concurrency == 3
        assert engine.schedule("nightly", work.add, every=3600, args=(1,)).name == "nightly"
        assert len(engine.preview("nightly", 3)) == 3
        engine.drain(timeout=10)
    with BackgroundEngine(tmp_path / "jobs") as engine:  # all of it is in the journal
        assert engine.get(handle.id).result == 3


async def the_door_of_asyncio(work: Work, path: Path) -> list[Any]:
    async with BackgroundEngine(path, queues=[work.queue]) as engine:
        handle = await engine.aio.submit(work.add, 1, b=2)
        assert isinstance(handle, AioHandle)
        assert await handle.result(timeout=10) == 3
        many = await engine.aio.submit_many([work.add.bind(1), work.add.bind(2)])
        assert [(await each.wait(10)).result for each in many] == [2, 3]
        assert engine.count() == await engine.aio.count() == 3, "both doors lead to one engine"
        asked = [engine.aio.submit(work.add, n) for n in range(200)]
        handles = await asyncio.gather(*asked)
        return await asyncio.gather(*(each.result(30) for each in handles))


def test_the_door_of_asyncio(work: Work, tmp_path: Path) -> None:
    assert asyncio.run(the_door_of_asyncio(work, tmp_path / "jobs")) == [n + 1 for n in range(200)]


def test_many_threads_and_loops_at_once(work: Work) -> None:
    with BackgroundEngine(None, queues=[work.queue]) as engine:

        async def there(start: int) -> list[int]:
            return [await (await engine.aio.submit(work.add, n)).result(30) for n in range(start, start + 20)]

        def here(start: int) -> list[int]:
            return [engine.submit(work.add, n).result(30) for n in range(start, start + 20)]

        calls: list[Callable[[], Any]] = [lambda n=n: asyncio.run(there(n)) if n % 2 else here(n) for n in range(6)]  # type: ignore[misc]
        assert in_threads(*calls) == [[n + 1 for n in range(start, start + 20)] for start in range(6)]


def test_a_waiting_coroutine_leaves_its_loop_free(work: Work) -> None:
    async def main() -> None:
        async with BackgroundEngine(None, queues=[work.queue]) as engine:
            waiting = asyncio.create_task((await engine.aio.submit(work.waits)).result(30))
            await asyncio.to_thread(work.entered.wait, 30)
            assert not waiting.done()
            work.gate.set()  # nobody could say so if the loop were blocked
            assert await waiting == "waited"

    asyncio.run(main())


def test_tasks_in_a_list_are_read_and_outlive_the_engine(work: Work) -> None:
    with BackgroundEngine(None, queues=[work.queue]) as engine:
        for n in range(70):
            engine.submit(work.add, n)
        engine.drain(10)
        listed = engine.list(limit=100)
        also = asyncio.run(engine.aio.list(limit=1))
    assert [(task.payload, task.result) for task in listed] == [(([n], {}), n + 1) for n in reversed(range(70))]
    assert also[0].result == 70


def test_a_namespace_has_both_doors_too(work: Work) -> None:
    with BackgroundEngine(None) as engine:
        plugin = engine.namespace("plugin-a", max_concurrency=2, limits=Limits(queues=1))
        plugin.create_queue(work.queue)
        handle = plugin.submit(work.add, 1)
        assert (handle.result(10), plugin.name, list(engine.stats())) == (2, "plugin-a", ["plugin-a/q"])
        assert asyncio.run(plugin.aio.get(handle.id)).queue == "q"
        other = asyncio.run(engine.aio.namespace("plugin-b"))
        with pytest.raises(TaskNotFound):
            other.get(handle.id)


def test_a_thread_handler_may_call_the_engine_that_runs_it(work: Work) -> None:
    queue = Queue("callers")
    engine = BackgroundEngine(None, queues=[work.queue, queue])

    @queue.handler
    def calls() -> int:
        return engine.submit(work.add, 20).result(10)

    @queue.handler
    def waits_for_itself() -> str:
        said = []
        for call in (engine.drain, engine.stop):
            try:
                call()
            except RuntimeError as error:
                said.append(str(error))
        return "; ".join(said)

    with engine:
        assert engine.submit(calls).result(20) == 21
        said = engine.submit(waits_for_itself).result(20)
        assert "drain() from inside a handler would wait for the handler itself" in said
        assert "stop() from inside a handler" in said


def test_an_async_handler_is_told_that_it_would_wait_for_itself(work: Work) -> None:
    engine = BackgroundEngine(None, queues=[work.queue])

    @work.queue.handler
    async def calls(ctx: Context) -> list[str]:
        said = []
        try:
            engine.count()
        except RuntimeError as error:
            said.append(str(error))
        try:
            await engine.aio.count()
        except RuntimeError as error:
            said.append(str(error))
        try:
            engine.stop()
        except RuntimeError as error:
            said.append(str(error))
        return said

    with engine:
        said = engine.submit(calls).result(10)
        assert ["ctx.engine.submit" in each or "asyncio" in each for each in said] == [True] * 3
        assert engine.submit(work.add, 1).result(10) == 2, "and nothing came of it"


def test_the_door_of_asyncio_wants_asyncio(work: Work) -> None:
    with BackgroundEngine(None, queues=[work.queue]) as engine, pytest.raises(RuntimeError, match="a program of trio opens Engine itself"):
        trio.run(engine.aio.count)


# --- errors -------------------------------------------------------------------------------------------------------------------


def test_errors_come_out_as_themselves(work: Work) -> None:
    id = "01890a5d-ac96-774b-bcce-b302099a8057"
    with BackgroundEngine(None, queues=[work.queue]) as engine:
        with pytest.raises(TaskNotFound, match="never submitted") as lookup:
            engine.get(id)
        assert isinstance(lookup.value, LookupError)
        with pytest.raises(InvalidPayload):
            engine.submit(work.add, object())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="missing"):
            engine.submit(work.add)  # type: ignore[call-arg]
        engine.submit(work.add.using(id=id), 1)
        with pytest.raises(DuplicateTask):
            asyncio.run(engine.aio.submit(work.add.using(id=id), 2))
        frames = [frame.name for frame in traceback.extract_tb(lookup.tb)]
        assert frames[0] == "test_errors_come_out_as_themselves", "from the caller"
        assert frames[-1] == "get", "to where the engine raised it"


def test_before_the_start_and_after_the_end(work: Work) -> None:
    engine = BackgroundEngine(None, queues=[work.queue])
    with pytest.raises(EngineStopped, match="start"):
        engine.submit(work.add, 1)
    assert engine.stop() is True, "nothing to stop"
    with engine:
        handle = engine.submit(work.add, 1)
        assert handle.result(10) == 2
    for call in (engine.count, handle.wait, lambda: asyncio.run(engine.aio.count())):
        with pytest.raises(EngineStopped):
            call()
    assert engine.stop() is True
    with engine:
        assert engine.count() == 0, "a later entry is fine"


def test_it_is_started_once(work: Work) -> None:
    engine = BackgroundEngine(None, queues=[work.queue])
    assert in_threads(engine.start, engine.start, lambda: asyncio.run(engine.aio.start())) == [engine, engine, engine.aio]
    try:
        with pytest.raises(RuntimeError, match="started already"):
            engine.__enter__()
        assert engine.submit(work.add, 1).result(10) == 2
    finally:
        assert in_threads(engine.stop, engine.stop, lambda: asyncio.run(engine.aio.stop())) == [True] * 3


def test_a_call_that_comes_while_it_starts_waits_for_that(work: Work) -> None:
    store = WatchedStore()
    store.hold = True  # the boot's own commit
    engine = BackgroundEngine("x", [work.queue], store=store)

    def call() -> int:
        while True:
            try:
                return engine.submit(work.add, 1).result(10)
            except EngineStopped as error:  # not even begun
                refused.append(str(error))

    refused: list[str] = []
    threading.Timer(0.2, store.release).start()
    assert in_threads(engine.start, call, lambda: asyncio.run(asyncio.to_thread(call))) == [engine, 2, 2]
    assert [each for each in refused if "has not been started" not in each] == []
    assert engine.stop() is True


def test_an_error_leaves_no_cycle(work: Work) -> None:
    with BackgroundEngine(None, [work.queue]) as engine:

        def ask() -> weakref.ref[BaseException]:
            try:
                engine.get("01890a5d-ac96-774b-bcce-b302099a8057")
            except TaskNotFound as error:
                return weakref.ref(error)
            raise AssertionError("it was found")

        gc.disable()
        try:
            assert ask()() is None
        finally:
            gc.enable()


def test_two_engines_on_one_path(work: Work, tmp_path: Path) -> None:
    with BackgroundEngine(tmp_path, queues=[work.queue]) as first:
        second = BackgroundEngine(tmp_path)
        for _ in range(2):
            with pytest.raises(JournalLocked, match="this process") as locked:
                second.start()
        assert locked.value.pid is not None
        assert first.submit(work.add, 1).result(10) == 2, "the first has not noticed"
    with second:
        assert second.count() == 1


@pytest.mark.parametrize("happened", [False, True])
def test_a_failed_journal_reaches_every_caller(work: Work, happened: bool) -> None:
    store = FailingStore(happened)
    engine = BackgroundEngine("x", [work.queue], store=store)
    with pytest.raises(OSError, match="Input/output error"), engine:
        running = engine.submit(work.stays)
        work.entered.wait(10)
        store.arm(0)

        def in_asyncio() -> Any:
            return asyncio.run(running_there())

        async def running_there() -> Any:
            return await engine.aio.wait(running.id)

        def strikes() -> Any:
            time.sleep(0.3)  # by then the others wait
            return engine.submit(work.add, 1)

        said = in_threads(lambda: running.wait(), in_asyncio, lambda: engine.drain(), strikes)
        assert isinstance(said[3], OSError)
        for each in said:  # the failure itself; or, for one between two looks, that it is what stopped the engine
            assert isinstance(each if isinstance(each, OSError) else each.__cause__, OSError), said
        for _ in range(2):
            with pytest.raises(EngineStopped, match="Input/output error") as later:
                engine.count()
            assert isinstance(later.value.__cause__, OSError)
    assert engine.stop() is False, "said once, then it is over"


def test_an_error_of_the_block_goes_on_unchanged_and_stops_without_grace(work: Work) -> None:
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), BackgroundEngine(None, [work.queue], grace=60) as engine:
        engine.submit(work.stays)
        work.entered.wait(10)
        _ = 1 / 0
    assert time.monotonic() - began < 10


def test_a_full_journal_is_an_error_of_its_call_alone(work: Work) -> None:
    class Full(MemoryStore):
        full = False

        def begin_append(self, batch: Any, done: Any) -> None:
            if self.full:
                done(JournalFull("no room"))
            else:
                super().begin_append(batch, done)

    store = Full()
    engine = BackgroundEngine("x", [work.queue], store=store)
    with pytest.raises(JournalFull), engine:
        store.full = True
        said = in_threads(lambda: engine.submit(work.add, 1), lambda: engine.submit(work.add, 2))
        assert {type(each) for each in said} <= {JournalFull, EngineStopped}
        assert JournalFull in {type(each) for each in said}

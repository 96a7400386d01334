"""Row 22: what a transaction refuses, and where it says so."""

from __future__ import annotations

import pytest

from journeyman.engine import Context, DuplicateTask, Engine, EngineStopped, HandlerNotFound, JournalFull, PayloadTooLarge, Queue, QueueFull
from journeyman.kernel.bounds import CHANGES_MAX, CHANGES_MAX_BYTES, VALUE_MAX_BYTES
from tests.acceptance.stores import WatchedStore
from tests.acceptance.test_row_22 import echoing, handler


# row 22
async def test_row_22_a_refused_submit_refuses_the_whole_transaction() -> None:
    small, large = Queue("small", max_pending=1), Queue("large")
    for queue in (small, large):
        queue.handler(name=f"{queue.name}.echo")(_echo)
    id = "01890000-0000-7000-8000-000000000001"
    async with Engine(None, [small, large]) as engine:
        await engine.pause("small")
        await engine.pause("large")
        with pytest.raises(QueueFull):
            async with engine.transaction() as tx:
                tx.put(b"k", b"v")
                tx.submit(handler(large), "1")
                tx.submit(handler(small), "2")
                tx.submit(handler(small), "3")
        assert (await engine.count(), await engine.value(b"k")) == (0, None)
        async with engine.transaction() as tx:
            tx.put(b"k", b"v")
            first = tx.submit(handler(large).using(id=id, unique="u"), "1")
        with pytest.raises(DuplicateTask):
            async with engine.transaction() as tx:
                tx.put(b"k", b"w")
                tx.submit(handler(large).using(id=id), "another")
        assert await engine.value(b"k") == b"v"
        async with engine.transaction() as tx:  # the same id, the same call; and a taken key: the task that is there
            again = tx.submit(handler(large).using(id=id, unique="u"), "1")
            same = tx.submit(handler(large).using(unique="u"), "2")
            assert same.id != first.id
        assert first.id == again.id == same.id == id
        assert await engine.count() == 1


async def _echo(what: str) -> str:
    return what


# row 22
async def test_row_22_what_is_wrong_with_a_call_is_raised_where_it_stands() -> None:
    [queue] = echoing(max_payload=100)
    async with Engine(None, [queue]) as engine:
        async with engine.transaction() as tx:
            with pytest.raises(TypeError):
                tx.submit(handler(queue))
            with pytest.raises(PayloadTooLarge):
                tx.submit(handler(queue), "x" * 200)
            with pytest.raises(HandlerNotFound):
                tx.submit("nobody")
            with pytest.raises(PayloadTooLarge, match="store it elsewhere") as caught:
                tx.put(b"k", bytes(VALUE_MAX_BYTES + 1))
            assert (caught.value.size, caught.value.limit) == (VALUE_MAX_BYTES + 1, VALUE_MAX_BYTES)
            for key in (b"", b"k" * 257):
                with pytest.raises(ValueError, match="1 to 256 bytes"):
                    tx.put(key, b"")
            for call in (lambda: tx.get("text"), lambda: tx.put("text", b""), lambda: tx.delete(None), lambda: tx.put(b"k", "text")):  # type: ignore[arg-type]
                with pytest.raises(TypeError, match="is bytes"):
                    call()
            tx.put(b"k" * 256, bytes(VALUE_MAX_BYTES))
        assert await engine.value(b"k" * 256) == bytes(VALUE_MAX_BYTES)
        with pytest.raises(TypeError):
            await engine.value("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="limit"):
            await engine.values(limit=0)


# row 22
async def test_row_22_a_transaction_is_bounded() -> None:
    async with Engine(None) as engine:
        with pytest.raises(ValueError, match="in portions"):
            async with engine.transaction() as tx:
                for n in range(CHANGES_MAX + 1):
                    tx.put(b"%d" % n, b"")
        assert await engine.values() == []
        with pytest.raises(ValueError, match="bytes at most"):
            async with engine.transaction() as tx:
                for n in range(CHANGES_MAX_BYTES // VALUE_MAX_BYTES + 1):
                    tx.put(b"%d" % n, bytes(VALUE_MAX_BYTES))
        async with engine.transaction() as tx:
            for _ in range(CHANGES_MAX + 1):  # one key as often as one likes
                tx.put(b"k", bytes(VALUE_MAX_BYTES))
            tx.put(b"k", b"1")


# row 22
async def test_row_22_after_the_block_and_before_it_nothing_goes() -> None:
    [queue] = echoing()
    engine = Engine(None, [queue])
    with pytest.raises(EngineStopped):
        async with engine.transaction():
            pass
    async with engine:
        tx = engine.transaction()
        with pytest.raises(RuntimeError, match="async with"):
            tx.put(b"k", b"v")
        async with tx:
            handle = tx.submit(handler(queue), "x")
            for wrong in (handle.wait(), handle.result(), handle.cancel()):
                with pytest.raises(RuntimeError, match="once its block has been left"):
                    await wrong
        for call in (lambda: tx.put(b"k", b"v"), lambda: tx.get(b"k"), lambda: tx.delete(b"k"), lambda: tx.submit(handler(queue), "x")):
            with pytest.raises(RuntimeError, match="is over"):
                call()
        with pytest.raises(RuntimeError, match="entered once"):
            async with tx:
                pass
        assert await handle.result(5) == "x"
    with pytest.raises(EngineStopped):
        async with engine:
            pending = engine.transaction()
            await pending.__aenter__()
            pending.put(b"k", b"v")
        async with engine:  # another opening: what was read belongs to the first
            await pending.__aexit__(None, None, None)


class FullStore(WatchedStore):
    full = False

    def space(self) -> tuple[int, int]:
        return (0 if self.full else 1 << 40), 1 << 40


# row 22, row 81
async def test_row_22_on_a_full_disk_nothing_is_put_and_everything_can_be_deleted() -> None:
    queue, store = Queue("q"), FullStore()

    @queue.handler
    async def work(ctx: Context) -> None:
        store.full = True
        ctx.engine._opened().shell.look_at_the_disk()
        with pytest.raises(JournalFull):
            ctx.put(b"k", b"w")
        store.full = False

    async with Engine(None, [queue], store=store) as engine:
        async with engine.transaction() as tx:
            tx.put(b"k", b"v")
        handle = await engine.submit(work)
        await handle.result(5)
        assert await engine.value(b"k") == b"v"  # what was refused is not put all the same
        store.full = True
        engine._opened().shell.look_at_the_disk()
        with pytest.raises(JournalFull):
            async with engine.transaction() as tx:
                tx.put(b"k", b"w")
        async with engine.transaction() as tx:
            tx.delete(b"k")
        assert await engine.value(b"k") is None


# row 22
async def test_row_22_tasks_of_a_transaction_may_run_after_each_other() -> None:
    [queue] = echoing(concurrency=2)
    async with Engine(None, [queue]) as engine:
        await engine.pause("q")
        async with engine.transaction() as tx:
            first = tx.submit(handler(queue), "1")
            second = tx.submit(handler(queue).using(after=[first]), "2")
        assert [reason.kind for reason in (await engine.explain(second.id)).reasons if "wait" in reason.kind]
        await engine.resume("q")
        assert await second.result(5) == "2"
        with pytest.raises(ValueError, match="single submit|earlier items"):
            async with engine.transaction() as tx:
                tx.submit(handler(queue).using(after=[0]), "3")

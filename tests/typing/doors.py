"""What a type checker must make of an engine in the background.  Read by mypy and pyright (tests/test_typing.py), never run."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false
from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from journeyman.engine import Queue, QueueStats, Schedule, Task
from journeyman.engine.background import AioHandle, BackgroundEngine, BackgroundHandle

mail = Queue("mail")


@mail.handler
async def send(to: str, *, urgent: bool = False) -> bytes:
    return b""


def here(engine: BackgroundEngine) -> None:
    with engine as entered:
        assert_type(entered, BackgroundEngine)
    assert_type(engine.submit(send, "a", urgent=True), BackgroundHandle[bytes])
    assert_type(engine.submit(send.using(delay=1), "a").result(timeout=timedelta(seconds=5)), bytes)
    assert_type(engine.submit("send", 1), BackgroundHandle[Any])
    assert_type(engine.submit_many([send.bind("a"), (send, ("b",), {})]), list[BackgroundHandle[Any]])
    assert_type(engine.get("id"), Task)
    assert_type(engine.list(queue="mail", limit=3), list[Task])
    assert_type(engine.count(state="failed"), int)
    assert_type(engine.stats(), dict[str, QueueStats])
    assert_type(engine.within(2.0).schedule("nightly", send, every=60, args=("a",)), Schedule)
    assert_type(engine.drain(timeout=5), None)
    assert_type(engine.stop(grace=1), bool)
    engine.submit(send)  # type: ignore
    engine.submit(send, 1)  # type: ignore
    engine.list(que="mail")  # type: ignore
    engine.get(1)  # type: ignore
    engine.cancel("id", runing=True)  # type: ignore


async def there(engine: BackgroundEngine) -> None:
    async with engine as entered:
        assert_type(entered, BackgroundEngine)
    assert_type(await engine.aio.submit(send, "a"), AioHandle[bytes])
    assert_type(await (await engine.aio.submit(send, "a", urgent=True)).result(), bytes)
    assert_type(await engine.aio.submit("send", 1), AioHandle[Any])
    assert_type(await engine.aio.get("id"), Task)
    assert_type(await engine.aio.list(queue="mail"), list[Task])
    assert_type(await engine.aio.stats(), dict[str, QueueStats])
    assert_type(await engine.aio.stop(), bool)
    assert_type(await engine.namespace("plugin").aio.count(), int)
    await engine.aio.submit(send, 1)  # type: ignore
    await engine.aio.count(stat="failed")  # type: ignore

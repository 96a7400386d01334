"""Handles of tasks that their queue drops at once: each tells of its own task, also where an id is used again."""

from __future__ import annotations

import pytest
import trio

from journeyman.engine import Engine, Handle, Queue, Retention, TaskNotFound

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("named", ["by its id", "by its key"])
async def test_the_next_task_of_an_id_is_not_told_of_with_what_was_kept_of_the_first(named: str, together: bool) -> None:
    lane = Queue("lane", concurrency=1, retention=Retention(succeeded=0))

    @lane.handler
    async def work(n: int) -> str | None:
        await trio.sleep(0.01)
        return "first" if n == 1 else None

    async def submit(engine: Engine, n: int, **options: str) -> Handle[str | None]:
        if together:
            return (await engine.submit_many([work.using(**options).bind(n)]))[0]  # type: ignore[arg-type]
        return await engine.submit(work.using(**options), n)  # type: ignore[arg-type]

    async with Engine(None, queues=[lane]) as engine:
        first = await submit(engine, 1, id=ID, unique="u")
        again = await submit(engine, 1, **({"id": ID, "unique": "u"} if named == "by its id" else {"unique": "u"}))
        assert again.id == first.id == ID
        assert [await again.result(), await first.result()] == ["first", "first"]
        with trio.fail_after(10):
            while not await gone(engine):  # noqa: ASYNC110 - nobody tells of a prune
                await trio.sleep(0.01)
        await engine.pause("lane")
        second = await submit(engine, 2, id=ID)
        assert [await again.result(), await first.result()] == ["first", "first"], "while the second waits"
        await engine.resume("lane")
        assert [await second.result(), await second.result()] == [None, None]
        assert [await again.result(), await first.result()] == ["first", "first"]


async def gone(engine: Engine) -> bool:
    """Whether nobody remembers the id any more."""
    try:
        await engine.get(ID)
    except TaskNotFound:
        await engine.prune()
        return True
    return False

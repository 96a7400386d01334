"""Row 90: durable steps.  Their names, their functions, and what those return."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from journeyman.engine import (
    Context,
    Engine,
    InvalidName,
    InvalidPayload,
    PayloadTooLarge,
    Retention,
    TooManySteps,
)
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.store import Table
from journeyman.kernel.bounds import STEPS_MAX
from tests.acceptance.stepping import LOG, Receipt, charge, mail, never, never_async, queue_of, untyped


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    LOG.clear()
    yield
    LOG.clear()


# --- names ----------------------------------------------------------------------------------------------------------------------


# row 90
async def test_row_90_one_name_one_step() -> None:
    queue, seen = queue_of(attempts=1), []

    @queue.handler
    async def twice(ctx: Context) -> None:
        for to in ("ada", "bob"):
            await ctx.step("mail", mail, to)

    @queue.handler
    async def at_once(ctx: Context) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.step, "slow", trio.sleep, 1)
            nursery.start_soon(ctx.step, "slow", trio.sleep, 1)

    @queue.handler
    async def again_after_an_error(ctx: Context) -> str:
        def flaky() -> str:
            seen.append(1)
            if len(seen) == 1:
                raise ConnectionError
            return "ok"

        try:
            return str(await ctx.step("flaky", flaky))
        except ConnectionError:
            return str(await ctx.step("flaky", flaky))

    async with Engine(None, [queue]) as engine:
        for handler in (twice, at_once):
            task = await (await engine.submit(handler)).wait(timeout=5)
            assert task.error is not None
            assert "DuplicateStep: this attempt has asked for a step" in task.error.traceback
        assert await (await engine.submit(again_after_an_error)).result(timeout=5) == "ok"
    assert LOG == ["mail ada"], "the second round of the loop is not passed over in silence"


# row 90
async def test_row_90_steps_at_once_are_fine() -> None:
    queue = queue_of()

    async def slow(n: int) -> int:
        LOG.append(n)
        await trio.sleep(0.001 * n)
        return n

    @queue.handler
    async def many(ctx: Context) -> int:
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(ctx.step, f"part {n}", slow, n)
        if ctx.attempt == 1:
            raise ConnectionError
        return ctx.attempt

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(many)).result(timeout=5) == 2
    assert sorted(LOG) == list(range(20))


def foreign() -> threading.Thread:
    raise AssertionError("it must not be run")


# row 90
async def test_row_90_what_can_be_known_to_go_wrong_is_found_before_it_is_run() -> None:
    queue, errors = queue_of(attempts=1), []

    @queue.handler
    async def order(ctx: Context) -> None:
        coroutine = never_async()
        for name, function in [("", never), ("x" * 129, never), ("a\nb", never), (5, never), ("x", coroutine), ("x", "no"), ("x", foreign)]:
            with pytest.raises((InvalidName, TypeError)) as caught:
                await ctx.step(name, function)  # type: ignore[arg-type]
            errors.append(str(caught.value))
        await ctx.step("x" * 128, trio.sleep, 0)

    @queue.handler
    def plain(ctx: Context) -> None:
        for function in (never_async, functools.partial(never_async)):
            with pytest.raises(TypeError, match="only an async handler"):
                ctx.step("x", function)
        with pytest.raises(TypeError, match="only an async handler"):
            ctx.step("x", lambda: never_async())

    async with Engine(None, [queue]) as engine:
        await (await engine.submit(order)).result(timeout=5)
        await (await engine.submit(plain)).result(timeout=5)
    assert "ctx.step('x', function, ...)" in errors[4]
    assert "Thread cannot be stored" in errors[6]


# row 90
async def test_row_90_there_is_an_end_to_the_number_of_steps() -> None:
    queue = queue_of(attempts=1)

    @queue.handler
    async def endless(ctx: Context) -> int:
        for n in range(STEPS_MAX):
            await ctx.step(f"step {n}", trio.sleep, 0)
        with pytest.raises(TooManySteps, match="1,000 steps"):
            await ctx.step("one more", never)
        return STEPS_MAX

    async with Engine(None, [queue]) as engine:
        assert await (await engine.submit(endless)).result(timeout=30) == STEPS_MAX


# --- values ---------------------------------------------------------------------------------------------------------------------


# row 90
async def test_row_90_a_handler_has_the_same_value_in_every_attempt() -> None:
    queue, seen = queue_of(), []

    @queue.handler
    async def order(ctx: Context) -> None:
        found = [
            await ctx.step("typed", charge, "visa", 3),
            await ctx.step("untyped", untyped),
            await ctx.step("lambda", lambda: charge("amex", 4)),
            await ctx.step("partial", functools.partial(charge, "diners"), 5),
            await ctx.step("none", never_mind),
        ]
        seen.append(found)
        if ctx.attempt < 3:
            raise ConnectionError

    async with Engine(None, [queue]) as engine:
        await (await engine.submit(order)).result(timeout=5)
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    assert seen[0] == [
        Receipt(3, (3, 1)), {"when": [1, 2]}, {"number": 4, "parts": [4, 1]}, Receipt(5, (5, 1)), None,
    ]  # fmt: skip
    assert len(LOG) == 3


def never_mind() -> None: ...


# row 90
async def test_row_90_values_that_cannot_be_stored_are_not_and_the_step_runs_again() -> None:
    queue, raised = queue_of(max_payload=100), []

    @queue.handler
    async def order(ctx: Context) -> int:
        for name, make in (("large", lambda: "x" * 101), ("foreign", lambda: threading.Lock())):
            try:
                await ctx.step(name, lambda make=make: LOG.append("run") or make())
            except (PayloadTooLarge, InvalidPayload) as error:
                raised.append(str(error))
        if ctx.attempt == 1:
            raise ConnectionError
        return ctx.attempt

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(order)
        assert await handle.result(timeout=5) == 2
        assert "StepRecorded" not in [event.kind for event in await engine.history(handle.id)]
    assert len(LOG) == 4
    assert "the result of step 'large': 103 bytes encoded, the limit is 100" in raised[0]
    assert "step 'foreign'" in raised[1]


# row 90
@pytest.mark.parametrize("payload", [True, False])
async def test_row_90_values_lie_on_the_disk_as_long_as_the_arguments_do(tmp_path: Path, payload: bool) -> None:
    queue = queue_of(retention=Retention(succeeded=None, payload=payload, result=False))

    @queue.handler
    async def order(ctx: Context, size: int) -> None:
        await ctx.step("large", lambda: "x" * size)
        await ctx.step("other", mail, "ada")

    async with Engine(tmp_path / "j", [queue]) as engine:
        await (await engine.submit(order, 5_000)).result(timeout=5)
    sizes = stored(tmp_path / "j")
    assert (len(sizes), max(sizes, default=0)) == ((3, 5_003) if payload else (0, 0))
    async with Engine(tmp_path / "j", [queue]) as engine:
        assert await engine.prune(older_than=0) == 1
    assert stored(tmp_path / "j") == []


def stored(path: Path) -> list[int]:
    """Sizes of all payload records of a closed journal."""
    store = LmdbStore(path, readonly=True)
    try:
        return [len(value) for _, value in store.scan(Table.PAYLOADS, limit=100)]
    finally:
        store.close()

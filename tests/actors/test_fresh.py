"""Arguments kept for the start that follows soon: all of a step's until it is durable, as much as there is room for after."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from journeyman.actors.fresh import FreshPayloads
from journeyman.engine import Engine, Queue
from journeyman.kernel.bounds import FRESH_PAYLOAD_BYTES
from tests.acceptance.virtual import SlowStore, TrioClock


@pytest.mark.parametrize("room", [0, 3, 7, 8, 100])
def test_what_is_new_is_kept_until_it_is_durable(room: int) -> None:
    tasks, payloads = [b"a", b"b", b"c"], [b"xxx", b"yyyy", b"z"]
    fresh, effects = FreshPayloads(), list[Any]()
    fresh.room = room
    fresh.keep_new(tasks, payloads, effects)
    assert fresh.held == dict(zip(tasks, payloads, strict=True))
    for run, argument in effects:
        run(argument)
    assert fresh.room == room - sum(map(len, fresh.held.values())) >= 0
    fresh.keep(b"d", b"." * (room + 1))
    assert b"d" not in fresh.held
    for task in tasks:
        fresh.forget(task)
    assert (fresh.held, fresh.room) == ({}, room)


# row 8
async def test_large_arguments_are_there_for_the_start_that_comes_with_the_submit(autojump_clock: trio.testing.MockClock) -> None:
    queue, store = Queue("q", concurrency=30, max_payload=2 * FRESH_PAYLOAD_BYTES), SlowStore()
    store.seconds = 0.01

    @queue.handler
    async def size(data: bytes) -> int:
        return len(data)

    async with Engine("x", [queue], store=store, clock=TrioClock()) as engine:
        large = await engine.submit(size, bytes(FRESH_PAYLOAD_BYTES + 1))
        many = await engine.submit_many([size.bind(bytes(900_000)) for _ in range(12)])
        assert await large.result(timeout=5) == FRESH_PAYLOAD_BYTES + 1
        assert [await one.result(timeout=5) for one in many] == [900_000] * 12

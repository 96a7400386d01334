"""Arguments kept for the start that follows soon: whether they come one by one or together, the same are kept."""

from __future__ import annotations

import pytest

from journeyman.actors.fresh import FreshPayloads


@pytest.mark.parametrize("room", [0, 3, 7, 8, 100])
def test_together_is_one_by_one(room: int) -> None:
    tasks, payloads = [b"a", b"b", b"c"], [b"xxx", b"yyyy", b"z"]
    together, one_by_one = FreshPayloads(), FreshPayloads()
    together.room = one_by_one.room = room
    together.keep_all(tasks, payloads)
    for task, payload in zip(tasks, payloads, strict=True):
        one_by_one.keep(task, payload)
    assert (together.held, together.room) == (one_by_one.held, one_by_one.room)
    for task in tasks:
        together.forget(task)
    assert (together.held, together.room) == ({}, room)

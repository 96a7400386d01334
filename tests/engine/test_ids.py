"""Row 24: ids are UUIDv7, strictly increasing within a process whatever the clock does, and a function of clock and entropy alone."""

from __future__ import annotations

import os
import time
import uuid
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.engine import Engine, Queue
from journeyman.engine.ids import IdSource, id_bytes, thread_source
from journeyman.kernel.ids import id_text

NOW = 1_800_000_000_000_000


@given(st.lists(st.integers(-5_000, 5_000), max_size=200), st.integers(0, 2**32))
def test_strictly_increasing_uuid7(steps: list[int], seed: int) -> None:
    source, now, last = IdSource(Random(seed).randbytes), NOW, ""
    for step in steps:
        now += step
        text = id_text(source.mint(now))
        found = uuid.UUID(text)
        assert (found.version, found.variant, str(found)) == (7, uuid.RFC_4122, text)
        assert text > last
        last = text


def test_the_time_is_in_it() -> None:
    assert int.from_bytes(IdSource(os.urandom).mint(NOW)[:6], "big") == NOW // 1000


def test_entropy_is_drawn_once_a_millisecond() -> None:
    drawn: list[int] = []

    def entropy(n: int) -> bytes:
        drawn.append(n)
        return b"\xff" * n

    source = IdSource(entropy)
    made = [source.mint(NOW + us) for us in range(1000)]
    assert len(set(made)) == 1000
    assert drawn == [10]


def test_the_largest_entropy_leaves_room_to_count() -> None:
    source = IdSource(lambda n: b"\xff" * n)
    made = [source.mint(NOW) for _ in range(10_000)]
    assert made == sorted(made)
    assert {m[:6] for m in made} == {(NOW // 1000).to_bytes(6, "big")}


async def test_engines_of_a_process_share_one_order() -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None: ...

    made: list[str] = []
    async with Engine(None, [queue]) as one, Engine(None, [queue]) as other:
        made += [(await engine.submit(work)).id for _ in range(50) for engine in (one, other)]
    async with Engine(None, [queue]) as third:
        made.append((await third.submit(work)).id)
    assert made == sorted(made)
    assert len(set(made)) == 101


def test_a_forked_child_counts_for_itself() -> None:
    now = time.time_ns() // 1000
    thread_source().mint(now)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, thread_source().mint(now))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 16) != thread_source().mint(now)
    os.close(reader)
    os.close(writer)


def test_same_seed_same_ids() -> None:
    first, second = (IdSource(Random(7).randbytes) for _ in range(2))
    assert [first.mint(NOW + n) for n in range(5000)] == [second.mint(NOW + n) for n in range(5000)]


@given(st.uuids())
def test_text_and_bytes(value: uuid.UUID) -> None:
    assert id_bytes(str(value)) == id_bytes(value.hex) == id_bytes(str(value).upper()) == value.bytes
    assert id_text(value.bytes) == str(value)


@pytest.mark.parametrize("text", ["", "7", "g" * 32, "0" * 31, "0" * 33, None, 7, b"0" * 32, uuid.UUID(int=1), "{" + "0" * 32 + "}"])
def test_not_ids(text: object) -> None:
    with pytest.raises(ValueError, match="must be a UUID"):
        id_bytes(text)

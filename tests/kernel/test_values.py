"""What a transaction comes to: conflicts, events, names of keys."""

from __future__ import annotations

import pytest

from journeyman.kernel.commands import Refused
from journeyman.kernel.events import ValuePut
from journeyman.kernel.values import Name, Write, decide_values, key_text, shown_key
from journeyman.kernel.world import JournalState, replay

A, B = ("", b"a"), ("plugin", b"b")
DIGEST = bytes(16)


def decided(reads: dict[Name, int], *writes: Write, **newest: int) -> list[ValuePut] | Refused:
    return decide_values(reads, writes, {A: newest.get("a", 0), B: newest.get("b", 0)}, 10, 3, b"t" * 16)


def test_each_key_that_changes_has_an_event_that_names_the_one_before() -> None:
    assert decided({A: 5}, Write(A, 4, DIGEST), Write(B, None), a=5, b=7) == [
        ValuePut(10, "", 0, 3, "", b"a", False, 4, DIGEST, 5, b"t" * 16),
        ValuePut(10, "", 0, 3, "plugin", b"b", True, 0, b"", 7, b"t" * 16),
    ]


def test_to_delete_what_is_not_there_is_no_event() -> None:
    assert decided({}, Write(A, None)) == []


@pytest.mark.parametrize(("read", "now"), [(0, 5), (5, 0), (5, 6)])
def test_what_was_read_must_still_be_so(read: int, now: int) -> None:
    refused = decided({A: read}, Write(B, 0, DIGEST), a=now)
    assert isinstance(refused, Refused)
    assert (refused.error, "b'a'" in refused.message) == ("TransactionConflict", True)


def test_memory_holds_no_values_and_no_queue_comes_of_them() -> None:
    [event] = [event for event in decided({}, Write(A, 4, DIGEST)) if isinstance(event, ValuePut)]
    state = replay([(1, event)], JournalState())
    assert (state.queues, state.last_at) == ({}, 10)


@pytest.mark.parametrize(
    ("key", "text"),
    [(b"total", "total"), ("påls".encode(), "påls"), (b"\xff\x00", "0xff00"), (b"a\n", "0x610a"), (b"0xff", "0x30786666"), (b"", "0x")],
)
def test_a_key_as_text_names_it_and_no_other(key: bytes, text: str) -> None:
    assert key_text(key) == text


def test_keys_of_namespaces_say_whose_they_are() -> None:
    assert (shown_key(A), shown_key(B)) == ("b'a'", "b'b' of 'plugin'")

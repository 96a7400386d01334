"""Record bytes: golden per kind, round trip, damage, versions, chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.journal import record
from journeyman.journal.cbor import CodecError, decode, decode_many, decode_payload, encode, encode_payload
from journeyman.journal.errors import JournalCorrupt, JournalVersion
from journeyman.journal.record import GENESIS, TAG_OF, Chain, Ignored, decode_records, encode_commit
from journeyman.kernel.events import AttemptFailed, Event, QueuePaused, TaskSubmitted
from journeyman.kernel.tags import TAGS

GOLDEN = Path(__file__).parent / "golden_records.json"
ID, DIGEST = bytes(range(16)), bytes(range(16, 32))
_ERROR = ("ValueError", "bad æ", "Traceback ...", ["ValueError", "Exception"])
_VALUES: dict[str, Any] = {
    "at": 1_763_000_000_000_000, "queue": "mail", "qseq": 7, "epoch": 3, "task": ID, "handler": "send", "priority": 5,
    "due_at": 1_763_000_000_500_000, "due_kind": 0, "payload_len": 40, "payload_digest": DIGEST, "codec": 0, "key_id": None, "attempt": 2,
    "cost": 1, "tat_at": 0, "eligible_at": 1_763_000_000_400_000, "elapsed_us": 1234, "failures": 1, "crashes": 1, "error": _ERROR,
    "entered": True, "reason": "why", "by": "op", "fraction_ppm": 500_000, "message": None, "expires_at": None, "keep_payload": True,
    "result_len": 3, "result_digest": DIGEST, "row": [ID, 1, {"b": 1, "a": [None]}], "fence_epoch": 2, "kind": "success", "state": "failed",
    "until_at": 1_763_000_000_900_000,
    "boot": 4, "policy": {"z": 1, "attempts": 3}, "entries": [[1, 9, 3]], "residue": {"tat_seq": 5, "tat_at": 6},
    "facts": {"pid": 1, "a": "b"}, "delta_us": -3_600_000_000, "through_seq": 99, "queues": {"web": {"epoch": 1}, "a": {}},
    "totals": {"boots": 2}, "place_at": 1_763_000_000_450_000, "met": [[ID, "succeeded"]], "options": None,
    "name": "nightly", "spec": {"timezone": "Europe/Oslo", "cron": "0 3 * * *", "payload": b"x"}, "anchor_at": 0, "opens_at": None,
    "cursor_at": 1_763_000_000_000_000, "fire_at": 1_763_000_000_000_000, "submitted": ID, "missed": 1, "late_us": 12,
    "namespace": "", "key": b"total", "deleted": False, "value_len": 4, "value_digest": DIGEST, "former": 17, "by_task": ID,
}  # fmt: skip


def sample(kind: type[Any], **changes: Any) -> Event:
    return kind(**{**{name: _VALUES[name] for name in kind._fields}, **changes})  # type: ignore[no-any-return]


EVERY = [sample(kind) for _, kind in sorted(TAGS.items())]


def pairs_of(*events: Event, first: int = 1, previous: bytes = GENESIS) -> list[tuple[bytes, bytes]]:
    return encode_commit(list(enumerate(events, first)), previous)[0]


@pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)
def test_golden_bytes(event: Event) -> None:
    """The first release's bytes, for ever.  A new kind is added by running this file as a program; an existing line never changes."""
    golden = json.loads(GOLDEN.read_text())
    name = type(event).__name__
    assert pairs_of(event, first=258)[0][1].hex() == golden[name]
    assert decode_records([((258).to_bytes(8, "big"), bytes.fromhex(golden[name]))]) == [(258, event)]


def test_the_header_is_as_documented() -> None:
    events = EVERY[:3]
    (key, first), (_, middle), (last_key, last) = pairs_of(*events, first=5, previous=DIGEST)
    assert key == (5).to_bytes(8, "big")
    assert (first[:4], first[8:24]) == (bytes((1, TAG_OF[type(events[0])], 1, 0)), DIGEST)
    assert (middle[2], last[2], last[8:]) == (0, 2, encode(events[2]))
    assert int.from_bytes(last[4:8], "big") == crc32(last_key + last[:4] + last[8:])
    assert pairs_of(events[0])[0][1][2] == 3


@given(
    st.dictionaries(st.text(), st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text() | st.booleans() | st.none() | st.lists(st.text()))
)
def test_options_round_trip_canonically(options: dict[str, Any]) -> None:
    event = sample(TaskSubmitted, options=options)
    pairs = pairs_of(event)
    assert decode_records(pairs) == [(1, event)]
    shuffled = sample(TaskSubmitted, options=dict(reversed(options.items())))
    assert pairs_of(shuffled) == pairs


def test_every_flipped_bit_is_found() -> None:
    key, value = pairs_of(sample(AttemptFailed))[0]
    for at in range(len(value) * 8):
        flipped = bytearray(value)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(JournalCorrupt) as caught:
            decode_records([(key, bytes(flipped))])
        assert caught.value.seq == 1


def test_every_cut_and_any_appendix_is_found() -> None:
    key, value = pairs_of(sample(AttemptFailed))[0]
    for at in range(len(value)):
        with pytest.raises(JournalCorrupt):
            decode_records([(key, value[:at])])
    with pytest.raises(JournalCorrupt):
        decode_records([(key, value + b"\0")])


def test_a_record_in_anothers_place_is_found() -> None:
    (_, one), (two, _) = pairs_of(*EVERY[:2])
    with pytest.raises(JournalCorrupt, match="record 2"):
        decode_records([(two, one)])


def forged(tag: int, body: bytes, *, version: int = 1, flags: int = 0, seq: int = 9) -> tuple[bytes, bytes]:
    key, head = seq.to_bytes(8, "big"), bytes((version, tag, flags, 0))
    return key, head + crc32(key + head + body).to_bytes(4, "big") + body


def test_a_younger_format_is_named() -> None:
    with pytest.raises(JournalVersion, match="format version 2"):
        decode_records([forged(1, b"", version=2)])


def test_an_unknown_kind_is_named_or_carried_along() -> None:
    body = encode([1, "q", 2, 3, "new"])
    with pytest.raises(JournalVersion, match="SubmissionRejected"):
        decode_records([forged(21, body)])
    with pytest.raises(JournalVersion, match="kind 200"):
        decode_records([forged(200, body)])
    assert decode_records([forged(200, body, flags=record.IGNORABLE)]) == [(9, Ignored(1, "q", 2, 3, 200, [1, "q", 2, 3, "new"]))]


def test_older_and_younger_bodies_of_one_format() -> None:
    tag = TAG_OF[QueuePaused]
    assert decode_records([forged(tag, encode([1, "q", 2, 3, "op", "why"]))]) == [(9, QueuePaused(1, "q", 2, 3, "op", "why"))]
    assert decode_records([forged(tag, encode([1, "q", 2, 3, "op", "why", None, "younger"]))]) == [
        (9, QueuePaused(1, "q", 2, 3, "op", "why"))
    ]
    with pytest.raises(JournalCorrupt, match="reason"):
        decode_records([forged(tag, encode([1, "q", 2, 3, "op"]))])


@pytest.mark.parametrize(
    "body", [b"", b"\x01\x02", b"\x9f\x01\xff", encode([1, 2]) + b"\0", b"\x84\xc2\x41\x01\x01\x01\x01", b"\xa0", b"\x01"]
)
def test_bodies_that_are_no_event(body: bytes) -> None:
    good = forged(TAG_OF[QueuePaused], encode([1, "q", 2, 3, "op", "why"]), seq=8)
    with pytest.raises(JournalCorrupt) as caught:
        decode_records([good, forged(TAG_OF[QueuePaused], body)])
    assert caught.value.seq == 9


# --- chain ------------------------------------------------------------------------------------------------------------------


def commits(*sizes: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    head, seq, pairs = GENESIS, 1, []
    for size in sizes:
        records, head = encode_commit([(seq + i, EVERY[i]) for i in range(size)], head)
        pairs += records
        seq += size
    return pairs, head


def walk(pairs: list[tuple[bytes, bytes]]) -> Chain:
    chain = Chain(1, GENESIS)
    decode_records(pairs, chain)
    return chain


def test_commits_chain() -> None:
    pairs, head = commits(1, 3, 2)
    chain = walk(pairs)
    assert (chain.finish(), chain.holes, chain.expected) == (head, 0, 7)


def test_a_foreign_commit_breaks_the_chain() -> None:
    pairs, _ = commits(2, 2, 2)
    other = pairs_of(EVERY[7], EVERY[8], first=3, previous=walk(pairs[:2]).finish())
    with pytest.raises(JournalCorrupt, match="record 5"):
        walk(pairs[:2] + other + pairs[4:])


def test_a_torn_commit_is_found() -> None:
    pairs, _ = commits(2, 3)
    with pytest.raises(JournalCorrupt):
        walk(pairs[:4]).finish()
    torn = pairs[:1] + pairs_of(EVERY[0], first=2)
    with pytest.raises(JournalCorrupt, match="record 2"):
        walk(torn)


@pytest.mark.parametrize("gone", [[1], [2], [3], [4], [1, 2], [2, 3], [2, 3, 4], [1, 4, 5], [4, 5, 6], [5], [6], [1, 2, 3, 4, 5, 6]])
def test_holes_of_prune_are_walked_over_up_to_the_newest_commit(gone: list[int]) -> None:
    pairs, head = commits(1, 3, 2, 3)
    chain = walk([pair for pair in pairs if int.from_bytes(pair[0], "big") not in gone])
    assert chain.finish() == head
    assert chain.holes == len(gone)


# --- codec ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", ["c11a00000000", "d8184101", "d81c80", "d8236161", "d9d9f701", "5f4101ff", "a2616101616102", "a10102", "0102", ""]
)
def test_records_are_strict(bad: str) -> None:
    with pytest.raises(CodecError):
        decode(bytes.fromhex(bad))
    with pytest.raises(CodecError):
        decode_many([encode(1), bytes.fromhex(bad)])


def test_payloads_take_what_is_promised_and_nothing_else() -> None:
    import datetime
    import decimal
    import fractions
    import re
    import uuid

    instant = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    good = [
        instant, decimal.Decimal("1.10"), uuid.UUID(int=5), {1, 2}, 2**80, -(2**80), {1: 2, "a": 3}, b"\xd8\xd9",
        None, 1.5, "text", [1, [2]],
    ]  # fmt: skip
    for value in good:
        assert decode_payload(encode_payload(value)) == value
    for bad in (fractions.Fraction(1, 3), re.compile("a"), datetime.date(2026, 1, 2), 1j, object(), datetime.datetime(2026, 1, 1)):
        with pytest.raises((CodecError, ValueError, TypeError)):
            encode_payload(bad)
    for data in ("d8236161", "d81c80", "0102", "", "5f4101ff", "a2016101016102"):
        with pytest.raises(CodecError):
            decode_payload(bytes.fromhex(data))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({type(e).__name__: pairs_of(e, first=258)[0][1].hex() for e in EVERY}, indent=1) + "\n")

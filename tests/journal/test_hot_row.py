"""The quick encoder of rows makes the same bytes as the general one, whatever a task holds, or says that it cannot."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from journeyman.journal.cbor import encode
from journeyman.journal.hot_row import quick_row
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import ROW, TaskState

AT = 1_763_000_000_000_000
EDGES = [0, 1, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1]
REGULAR: dict[str, Any] = {
    "id": bytes(16), "seq": 70_000, "queue": "mail", "handler": "send", "state": "succeeded", "attempt": 1, "failures": 0, "crashes": 0,
    "priority": 5, "due_at": AT, "due_kind": 0, "first_due": AT, "submitted_at": AT, "started_at": AT, "finished_at": AT,
    "expires_at": None, "elapsed_us": 900, "epoch": 1, "payload_len": 31, "payload_digest": bytes(16), "codec": 0, "key_id": None,
    "keep_payload": True, "options": None, "result_len": 0, "result_digest": b"", "result_codec": 0, "result_seq": 0, "error": None,
    "reason": None, "message": None, "progress_ppm": None, "cancel": None, "seqs": [70_000, 70_001, 70_002], "last_seq": 70_002,
    "rejected": None, "payload_seq": 70_000, "waits_for": None, "latest_at": None, "first_digest": b"",
}  # fmt: skip

whole = st.sampled_from(EDGES) | st.integers(0, (1 << 64) - 1)
signed = whole | st.integers(-(1 << 31), 0)
instants = st.integers(AT, AT << 2) | signed
texts = st.text(max_size=300)
digests = st.just(b"") | st.binary(min_size=16, max_size=16) | st.binary(max_size=40)
errors = st.lists(texts, min_size=3, max_size=3).flatmap(lambda parts: st.lists(texts, max_size=30).map(lambda kinds: [*parts, kinds]))
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("due_at", "first_due", "submitted_at"), instants),
    **dict.fromkeys(("started_at", "finished_at", "expires_at", "latest_at"), st.none() | instants),
    **dict.fromkeys(("attempt", "failures", "crashes", "priority", "due_kind"), signed),
    **dict.fromkeys(("epoch", "payload_len", "codec", "result_len", "result_codec", "result_seq", "payload_seq"), whole),
    **dict.fromkeys(("elapsed_us", "progress_ppm"), st.none() | signed),
    **dict.fromkeys(("queue", "handler"), texts),
    **dict.fromkeys(("key_id", "reason", "message"), st.none() | texts),
    **dict.fromkeys(("payload_digest", "result_digest", "first_digest"), digests),
    "id": st.binary(min_size=16, max_size=16) | st.binary(max_size=20),
    "state": st.sampled_from([state.value for state in State]),
    "keep_payload": st.booleans(),
    "options": st.none() | st.dictionaries(st.sampled_from(["key", "tags", "b", "aa"]), st.integers(0, 9), max_size=3),
    "error": st.none() | errors,
    "cancel": st.none() | st.lists(texts, min_size=2, max_size=2),
    "rejected": st.none() | st.just([[1, "TaskSucceeded"]]),
    "waits_for": st.none() | st.just([bytes(16)]),
}
numbers = st.integers(1, 300) | st.integers(65_000, 1 << 20) | st.integers((1 << 32) - 5, (1 << 32) + 5)
seqs = st.lists(numbers, min_size=1, max_size=30, unique=True).map(sorted)


def task(columns: dict[str, Any]) -> TaskState:
    return TaskState.from_row([columns[name] for name in ROW])


def spread(found: list[int]) -> dict[str, Any]:
    return {"seqs": found, "seq": found[0], "payload_seq": found[0], "last_seq": found[-1]}


@given(
    st.sets(st.sampled_from(sorted(COLUMNS)), max_size=5).flatmap(
        lambda names: st.fixed_dictionaries({name: COLUMNS[name] for name in names})
    ),
    seqs,
    st.booleans(),
)
@example({}, [1, 2, 3], True)
@example({}, [23, 24, 255, 256], True)
@example({}, [65_535, 65_536, 65_537], True)
@example({}, [65_536, 65_537], True)
@example({}, [(1 << 32) - 2, (1 << 32) - 1], True)
@example({}, [(1 << 32) - 1, 1 << 32], True)
def test_same_bytes_as_the_general_encoder(changed: dict[str, Any], found: list[int], has_result: bool) -> None:
    columns = REGULAR | spread(found) | ({"result_seq": found[-1]} if has_result else {}) | changed
    one = task(columns)
    for quick in (quick_row(one), quick_row(one)):
        assert quick is None or quick == encode(one.row())


def test_the_regular_row_is_made_quickly() -> None:
    error = ["ValueError", "no such address", "Traceback: ...", ["ValueError", "Exception"]]
    for changed in ({}, {"result_seq": 70_002, "result_len": 9, "result_digest": bytes(16)}, {"error": error, "state": "failed"}):
        one = task(REGULAR | changed)
        assert quick_row(one) == encode(one.row())
    young = task(REGULAR | spread([5, 6, 300]))
    assert quick_row(young) == encode(young.row())


def test_columns_that_are_kept_are_told_apart() -> None:
    for changed in (
        {},
        {"queue": "m"},
        {"handler": "k"},
        {"state": "failed"},
        {"attempt": 2},
        {"failures": 1},
        {"crashes": 1},
        {"priority": -3},
    ):
        one = task(REGULAR | changed)
        assert quick_row(one) == encode(one.row())

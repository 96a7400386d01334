"""The quick encoder makes the same bytes as the canonical one, whatever the events hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from journeyman.journal.cbor import encode
from journeyman.journal.hot import HotEncoder
from journeyman.kernel.events import AttemptStarted, TaskSubmitted, TaskSucceeded

EDGES = [0, 1, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1]
whole = st.sampled_from(EDGES) | st.integers(0, 1 << 63)
signed = st.sampled_from([*EDGES, -1, -24, -25, -256, -257]) | st.integers(-(1 << 31), 1 << 31)
names = st.text(min_size=1, max_size=40)
ids = st.binary(min_size=16, max_size=16)
digests = st.just(b"") | ids
heads = (whole, names, whole, whole, ids)

submitted = st.builds(
    TaskSubmitted, *heads, names, signed, signed, st.integers(0, 1), whole, ids, st.integers(0, 300), st.none() | names, st.none()
)
started = st.builds(AttemptStarted, *heads, whole, whole, signed, signed, st.none())
succeeded = st.builds(
    TaskSucceeded, *heads, whole, signed, st.none() | signed, st.booleans(), whole, digests, st.integers(0, 300), st.none()
)


@given(st.lists(submitted | started | succeeded, min_size=1, max_size=8), st.booleans())
def test_same_bytes_as_the_canonical_encoder(events: list[TaskSubmitted | AttemptStarted | TaskSucceeded], repeat: bool) -> None:
    hot = HotEncoder()
    quick = {TaskSubmitted: hot.submitted, AttemptStarted: hot.started, TaskSucceeded: hot.succeeded}
    for event in events + (events if repeat else []):
        assert quick[type(event)](event) == encode(event)  # type: ignore[operator]


def test_a_piece_is_made_anew_when_what_it_stands_for_changes() -> None:
    hot = HotEncoder()
    first = TaskSubmitted(5, "a", 1, 1, bytes(16), "h", 5, 5, 0, 3, bytes(16), 0, None, None)
    for changed in (
        first,
        first._replace(at=6),
        first._replace(queue="b"),
        first._replace(epoch=2),
        first._replace(handler="k"),
        first._replace(priority=7),
        first._replace(due_at=70_000),
        first._replace(due_kind=1),
        first._replace(key_id="k"),
        first,
    ):
        assert hot.submitted(changed) == encode(changed)

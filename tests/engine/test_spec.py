"""The options of `using`: checked when they are given, turned into one command when the task is submitted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from journeyman.engine import InvalidName, Priority, Queue
from journeyman.kernel.commands import Submit
from journeyman.kernel.events import DUE_BY_DURATION, DUE_BY_INSTANT

NOW = 1_800_000_000_000_000
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
MINTED = b"m" * 16
queue = Queue("mail")


@queue.handler
async def send(to: str) -> None: ...


def submitted(**options: Any) -> Submit:
    return send.using(**options).command(MINTED, NOW, b"payload", b"digest")


def test_without_options() -> None:
    assert send.using() is send.spec
    assert submitted() == Submit(MINTED, "send", 5, None, DUE_BY_DURATION, 7, b"digest")


@pytest.mark.parametrize(
    ("options", "due"),
    [
        ({"delay": 60}, (NOW + 60_000_000, DUE_BY_DURATION)),
        ({"delay": timedelta(hours=1)}, (NOW + 3_600_000_000, DUE_BY_DURATION)),
        ({"delay": 0}, (None, DUE_BY_DURATION)),
        ({"delay": 0.0000001}, (NOW + 1, DUE_BY_DURATION)),  # never early
        ({"at": datetime(2030, 1, 1, tzinfo=UTC)}, (1_893_456_000_000_000, DUE_BY_INSTANT)),
        ({"at": datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))}, (1_893_456_000_000_000, DUE_BY_INSTANT)),
        ({"at": datetime(1900, 1, 1, tzinfo=UTC)}, (0, DUE_BY_INSTANT)),  # past: now
    ],
)
def test_due(options: dict[str, Any], due: tuple[int | None, int]) -> None:  # row 20
    command = submitted(**options)
    assert (command.due_at, command.due_kind) == due


def test_everything_else() -> None:
    command = submitted(
        id=ID, priority=Priority.HIGH, owner=("user", "7"), source="api", tags=("a", "b", "a"), attempts=3, timeout=1.5, heartbeat=None,
        deadline=10, meta={"trace": "x", "n": 1},
    )  # fmt: skip
    assert command.task == bytes.fromhex(ID.replace("-", ""))
    assert (command.priority, type(command.priority)) == (10, int)
    assert command.options == {
        "owner": ["user", "7"], "source": "api", "tags": ["a", "b"], "attempts": 3, "timeout_us": 1_500_000, "heartbeat_us": 0,
        "meta": {"trace": "x", "n": 1}, "deadline_at": NOW + 10_000_000, "deadline_kind": DUE_BY_DURATION,
    }  # fmt: skip
    assert submitted(deadline=datetime(2030, 1, 1, tzinfo=UTC)).options == {"deadline_at": 1_893_456_000_000_000}


def test_options_on_options() -> None:
    first = send.using(delay=5, tags=("a",), timeout=3)
    second = first.using(at=datetime(2030, 1, 1, tzinfo=UTC), timeout=None)
    assert (first.delay_us, first.at_us) == (5_000_000, None)  # unchanged
    assert (second.delay_us, second.at_us) == (None, 1_893_456_000_000_000)
    assert second.fixed == {"tags": ["a"], "timeout_us": 0}


def test_more_from_the_shell() -> None:
    command = send.using(tags=("a",)).command(MINTED, NOW, b"", b"", more={"parent": b"p"}, internal=True)
    assert (command.options, command.internal) == ({"tags": ["a"], "parent": b"p"}, True)


@pytest.mark.parametrize(
    "bad",
    [
        {"delay": -1}, {"delay": float("nan")}, {"delay": float("inf")}, {"delay": "soon"}, {"delay": True}, {"at": datetime(2030, 1, 1)},
        {"at": 5}, {"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)}, {"priority": 1.5}, {"priority": 2**31}, {"id": "mine"}, {"id": 7},
        {"owner": "user"}, {"owner": ("user",)}, {"owner": ("user", "")}, {"source": ""}, {"tags": "urgent"}, {"tags": ("",)},
        {"tags": [str(n) for n in range(33)]}, {"attempts": 0}, {"attempts": True}, {"timeout": 0}, {"timeout": -1}, {"heartbeat": 0},
        {"deadline": datetime(2030, 1, 1)}, {"deadline": "soon"}, {"meta": {"": 1}}, {"meta": {"a": []}}, {"meta": {"a": 1.5}},
        {"meta": {"a": 2**63}}, {"meta": {"a": "x" * 5000}},
    ],
)  # fmt: skip
def test_values_out_of_range(bad: dict[str, Any]) -> None:  # row 11
    with pytest.raises(ValueError, match=next(iter(bad)).removesuffix("s")):
        send.using(**bad)


def test_a_name_of_a_wrong_kind_says_which() -> None:
    with pytest.raises(InvalidName, match=r"^owner id"):
        send.using(owner=("user", "a\nb"))


def test_bind() -> None:
    call = send.using(delay=1).bind("a")
    assert (call.spec.delay_us, call.args, call.kwargs) == (1_000_000, ("a",), {})
    assert send.bind(to="a").kwargs == {"to": "a"}

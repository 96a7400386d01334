"""What an address asks for, checked before anything is read: filters, cursors, ids.

Everything after the `?` is somebody's typing.  What makes no sense is a page of status 400 that says what would; what is well formed and
not there is one of status 404.  A parameter that this page does not have is an error too: a filter that was misspelt would show everything.

Cursors are plain whole numbers: the seq of a task's submission, which never changes and grows with each new task, so a link to the next
page leads to the same tasks however many have come meanwhile; where a list is ordered by instants, the instant and the seq.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from journeyman.engine.reading import Filters
from journeyman.journal.following import Newest
from journeyman.kernel.ids import id_bytes
from journeyman.kernel.lifecycle import State
from journeyman.kernel.namespace import shown_name

USUAL_ROWS: Final = 50
MOST_ROWS: Final = 200
FILTERS: Final[tuple[str, ...]] = ("queue", "state", "handler", "owner", "source", "tag", "key", "unique", "parent")
_PAGING: Final = ("before", "after", "limit")
_ALWAYS: Final = ("format",)
_LONGEST: Final = 512  # characters of a value; names have 128 bytes at most
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_PLACE: Final = re.compile(r"(-?[0-9]{1,19})\.([0-9]{1,19})")


class BadQuestion(Exception):
    """What was asked for makes no sense; the message says what would."""


class NotThere(Exception):
    """What was asked for makes sense, and is not there."""


class Paging(NamedTuple):
    """Where a page begins: before or after a place, or at the start.  A place: the seq alone, or an instant and the seq."""

    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    limit: int


class Question(NamedTuple):
    """A list that is asked for.  `given`: the filters as they were typed, to be put into links."""

    filters: Filters
    paging: Paging
    given: dict[str, str]


def query(values: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """The parameters that have a value.  BadQuestion for one that this page does not have, or that is too long."""
    names = {*known, *_ALWAYS}
    for name, value in values.items():
        if name not in names:
            raise BadQuestion(f"this page has no parameter {name[:40]!r}; it has {', '.join(sorted(names))}")
        if len(value) > _LONGEST:
            raise BadQuestion(f"{name} is longer than anything can be: {len(value):,} characters, and {_LONGEST} are the most")
    if values.get("format", "json") not in ("json", "html"):
        raise BadQuestion("format is json or html")
    return {name: value for name, value in values.items() if value}


def list_question(newest: Newest, values: Mapping[str, str], *, by_instant: bool = False, without: Iterable[str] = ()) -> Question:
    """A list of tasks.  BadQuestion; NotThere for a queue that the journal does not have."""
    found = query(values, [name for name in (*FILTERS, *_PAGING) if name not in without])
    given = {name: found[name] for name in FILTERS if name in found}
    filters = Filters(
        queue=queue_named(newest, found["queue"]) if "queue" in found else None,
        states=_state(found["state"]) if "state" in found else None,
        handler=found.get("handler"),
        owner=_owner(found["owner"]) if "owner" in found else None,
        source=found.get("source"),
        tag=found.get("tag"),
        key=found.get("key"),
        parent=task_id(found["parent"], "parent") if "parent" in found else None,
        unique=found.get("unique"),
    )
    before, after = (_place(found, name, by_instant) for name in ("before", "after"))
    if before is not None and after is not None:
        raise BadQuestion("before and after are two ways to begin a page: give one of them")
    limit = _number(found["limit"], "limit") if "limit" in found else USUAL_ROWS
    if not 1 <= limit <= MOST_ROWS:
        raise BadQuestion(f"limit is from 1 to {MOST_ROWS}, not {limit}")
    if "limit" in found:
        given["limit"] = str(limit)
    return Question(filters, Paging(before, after, limit), given)


def queue_named(newest: Newest, shown: str) -> str:
    """The stored name of a queue by the one that people see.  NotThere."""
    for name in newest.state.queues:
        if shown_name(name) == shown:
            return name
    raise NotThere(f"this journal has no queue {shown!r}")


def task_id(text: str, what: str = "id") -> bytes:
    """BadQuestion for what is no id."""
    try:
        return id_bytes(text.strip())
    except ValueError:
        raise BadQuestion(f"{what} is a task's id, a UUID such as 0198c3a4-1f5e-7c3a-9b1e-3f2d5a6b7c8d, not {text!r}") from None


def _state(text: str) -> frozenset[State]:
    try:
        return frozenset({State(text)})
    except ValueError:
        raise BadQuestion(f"state is one of {', '.join(state.value for state in State)}, not {text!r}") from None


def _owner(text: str) -> tuple[str, str]:
    kind, colon, id = text.partition(":")
    if not colon:
        raise BadQuestion(f"an owner is written kind:id, such as user:7, not {text!r}")
    return kind, id


def _place(found: Mapping[str, str], name: str, by_instant: bool) -> tuple[int, ...] | None:
    text = found.get(name)
    if text is None:
        return None
    if not by_instant:
        return (_number(text, name),)
    match = _PLACE.fullmatch(text)
    if match is None:
        raise BadQuestion(f"{name} is a place in this list, as its own links have it, not {text!r}")
    return int(match[1]), int(match[2])


def _number(text: str, what: str) -> int:
    if _NUMBER.fullmatch(text) is None or (number := int(text)) >= 1 << 63:
        raise BadQuestion(f"{what} is a whole number, not {text!r}")
    return number


__all__ = ["FILTERS", "BadQuestion", "NotThere", "Paging", "Question", "list_question", "query", "queue_named", "task_id"]

"""What `using(after=...)` names, and which task that is.

A task can be named by its id, its handle or a Task.  Within one `submit_many` an earlier item has no handle yet: it can be named by its
place in the list (an int, from 0), or by the very BoundCall that stands there.  Only earlier items can be named, so there are no cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from journeyman.engine.ids import id_bytes
from journeyman.kernel.bounds import SUBMIT_MANY_MAX


@runtime_checkable
class Identified(Protocol):
    """A handle or a Task."""

    @property
    def id(self) -> str: ...


Name = Any  # bytes: a task's id; int: a place; else a bound call


def names_of(after: Iterable[Any] | Any) -> tuple[Name, ...]:
    """ValueError or TypeError for what names no task."""
    if isinstance(after, (str, bytes, int, Identified)) or _is_call(after):
        raise TypeError(f"after is a list of tasks, not one: did you mean after=[{after!r}]?")
    return tuple(dict.fromkeys(map(_name, after)))


def _is_call(value: Any) -> bool:
    return type(value).__name__ == "BoundCall"


class _Call:
    """A bound call by identity: two equal calls are two items."""

    __slots__ = ("call",)

    def __init__(self, call: Any) -> None:
        self.call = call

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and other.call is self.call

    def __hash__(self) -> int:
        return id(self.call)


def _name(one: Any) -> Name:
    if isinstance(one, str):
        return id_bytes(one)
    if isinstance(one, int) and not isinstance(one, bool):
        if not 0 <= one < SUBMIT_MANY_MAX:
            raise ValueError(f"a place in submit_many is a whole number from 0, not {one}")
        return one
    if _is_call(one):
        return _Call(one)
    if isinstance(one, Identified):
        return id_bytes(one.id)
    raise TypeError(f"after names tasks by id, handle or Task, and in submit_many by place or BoundCall, not by {one!r}")


def check_after_failure(value: object) -> str:
    if value != "cancel" and value != "run":
        raise ValueError(f'after_failure must be "cancel" or "run", not {value!r}')
    return str(value)


class Places:
    """The items of a `submit_many`, and the submissions they have come to so far (which grow)."""

    def __init__(self, items: Sequence[Any], submissions: Sequence[Any]) -> None:
        self._items = items
        self._submissions = submissions
        self._calls: dict[int, int] = {}  # id() of a bound call -> its place
        self._read = 0

    def ids(self, names: Sequence[Name], here: int) -> list[bytes]:
        """The tasks that item number `here` names.  ValueError for an item that does not come earlier."""
        return list(dict.fromkeys(self._id(name, here) for name in names))

    def _id(self, name: Name, here: int) -> bytes:
        if isinstance(name, bytes):
            return name
        if isinstance(name, int):
            place: int | None = name
            if name >= here:
                raise ValueError(f"item {here} of submit_many is to run after item {name}: only earlier items can be named")
        else:
            for at in range(self._read, here):
                self._calls[id(self._items[at])] = at
            self._read = here
            place = self._calls.get(id(name.call))
        if place is None:
            raise ValueError(f"item {here} of submit_many is to run after a call that is no earlier item")
        task: bytes = self._submissions[place].command.task
        return task


def ids_alone(names: Sequence[Name]) -> list[bytes]:
    """As `Places.ids`, for a task that is submitted alone."""
    for name in names:
        if not isinstance(name, bytes):
            raise ValueError("places and calls name earlier items of a submit_many; a single submit names tasks by id, handle or Task")
    return list(names)


__all__ = ["Identified", "Name", "Places", "check_after_failure", "ids_alone", "names_of"]

"""How one task should be submitted: the options of `using()`, checked and turned into the kernel's integers once.

Problem.  The same options must be understood for a handler, for a handler that is only a name, for a call bound for later and on top of
other options, and a submit without any of them must cost nothing.  Choice: `SubmitSpec` is an immutable value; every handler owns the
empty one, `using` makes another, and `command` puts it together with what only the moment of submission knows: id, instant, payload.  A
relative `delay` or `deadline` counts from that moment, not from the call of `using`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, Generic, Literal, NamedTuple, ParamSpec, Protocol, TypeVar

from journeyman.engine.after import Identified, Name, check_after_failure, names_of
from journeyman.engine.ids import id_bytes
from journeyman.engine.names import check_name, is_storable
from journeyman.engine.unique import OnConflict, check_on_conflict, check_unique, unique_options
from journeyman.journal.instants import instant_us
from journeyman.kernel.bounds import ATTEMPTS_MAX, BURST_MAX, META_MAX_BYTES, PRIORITY_MAX, PRIORITY_MIN, TAGS_MAX
from journeyman.kernel.commands import Submit
from journeyman.kernel.duration import Seconds, microseconds
from journeyman.kernel.events import DUE_BY_DURATION, DUE_BY_INSTANT
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Priority


class Unset(Enum):
    """The type of UNSET, which stands for "not said here": None may mean "none at all"."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
Limit = Seconds | None | Literal[Unset.UNSET]

_new: Final = tuple.__new__  # a NamedTuple without its Python-level constructor: half the price

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Target(Protocol):
    """The handler a task is for, as far as submitting needs to know it."""

    @property
    def name(self) -> str: ...
    @property
    def queue_name(self) -> str: ...
    def encode_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes: ...
    def decode_result(self, data: bytes) -> Any: ...


class BoundCall(NamedTuple, Generic[R_co]):
    """A call of a handler, ready for `Engine.submit_many`; made by `bind`."""

    spec: SubmitSpec[..., R_co]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Submittable(Generic[P, R_co]):
    """What can be submitted: a handler, or a handler with options."""

    __slots__ = ()

    @property
    def spec(self) -> SubmitSpec[P, R_co]:
        """The options so far."""
        raise NotImplementedError

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> BoundCall[R_co]:
        """A typed call for `Engine.submit_many`.  The arguments are checked when it is submitted."""
        return BoundCall(self.spec, args, kwargs)

    def using(
        self,
        *,
        delay: Seconds | None = None,
        at: datetime | None = None,
        priority: int | None = None,
        key: str | None = None,
        id: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tags: Collection[str] | None = None,
        attempts: int | None = None,
        cost: int | None = None,
        timeout: Limit = UNSET,
        heartbeat: Limit = UNSET,
        deadline: Seconds | datetime | None = None,
        meta: Mapping[str, str | int | bool | None] | None = None,
        unique: str | None = None,
        on_conflict: OnConflict | None = None,
        unique_for: Seconds | None = None,
        unique_states: Collection[State | str] | None = None,
        debounce: Seconds | None = None,
        max_wait: Seconds | None = None,
        after: Iterable[Identified | str | int | BoundCall[Any]] | None = None,
        after_failure: Literal["cancel", "run"] | None = None,
    ) -> SubmitSpec[P, R_co]:
        """The same handler with options for one task (or several); what is not given stays as it was.

        delay: seconds from the submit until it may run.  at: the instant from which it may run, aware; past ones mean now.  priority:
        higher first, a Priority or any int of 32 bits.  key: tasks of one key run in order, one at a time (`Queue(per_key=,
        key_order=)`).  id: a UUID as str, which makes the submit idempotent.  owner: (kind, id); source; tags: labels to list by.
        attempts: instead of the queue's.  cost: how many starts it counts for with the queue's rate.  timeout, heartbeat: seconds for an
        attempt, None for none, instead of the handler's and the queue's.  deadline: no run of it starts after that (an aware datetime, or
        seconds from the submit); if it still waits then, for its first run or a later one, it is cancelled; `retry` drops it.  meta: a
        small map that travels along.

        unique: at most one unfinished task of the queue bears this key.  on_conflict: what becomes of a submit whose key is taken: "return"
        answers with the task that has it, "raise" raises DuplicateTask, "replace" cancels the one that waits (one that runs:
        DuplicateTask).  unique_for: seconds for which a successful task keeps its key taken.  unique_states: the states of another task
        that count (default: all unfinished ones).  debounce: with unique, it is due that many seconds after the last of several submits,
        with its arguments, but no more than max_wait seconds after the first.

        after: run only when these have succeeded: ids, handles or Tasks, of any queue, ended ones too; within submit_many also earlier
        items, by their place in the list or by the BoundCall itself.  after_failure: when one of them ends in another way, "cancel" (the
        default) cancels this one, "run" runs it all the same.

        ValueError (InvalidName for a name) if one of them is out of range, or if two of them contradict each other.
        """
        due = {} if delay is None and at is None else _due(delay, at)
        labels = {"key": key, "owner": owner, "source": source, "tags": tags, "attempts": attempts, "cost": cost, "meta": meta}
        limits = {"timeout": timeout, "heartbeat": heartbeat}
        fixed = _labels(labels) | {f"{name}_us": limit_us(value, name) for name, value in limits.items() if not isinstance(value, Unset)}
        fixed |= unique_options(unique, unique_for, unique_states, debounce, max_wait)
        changed = due | ({} if deadline is None else _deadline(deadline))
        if priority is not None:
            changed["priority"] = whole(priority, "priority", PRIORITY_MIN, PRIORITY_MAX)
        if id is not None:
            changed["task"] = id_bytes(id)
        if after is not None:
            changed["after"] = names_of(after)
        if after_failure is not None:
            fixed["after_failure"] = check_after_failure(after_failure)
        if on_conflict is not None:
            changed["on_conflict"] = check_on_conflict(on_conflict)
        return _changed(self.spec, changed, fixed)


@dataclass(frozen=True, slots=True)
class SubmitSpec(Submittable[P, R_co]):
    """A handler with options.  Durations in microseconds, instants in microseconds UTC.

    `fixed`: those of the event's options (kernel/events.py) that do not depend on the instant of submission; None if there are none.
    """

    handler: Target
    task: bytes | None = None
    priority: int = Priority.NORMAL.value
    delay_us: int | None = None
    at_us: int | None = None
    deadline_us: int | None = None
    deadline_at: int | None = None
    fixed: Mapping[str, Any] | None = field(default=None, hash=False)
    on_conflict: OnConflict = "return"
    after: tuple[Name, ...] = ()
    plain: bool = field(init=False, compare=False, repr=False)  # no chosen id, no instant: the same command whenever it is submitted

    def __post_init__(self) -> None:
        given = (self.task, self.delay_us, self.at_us, self.deadline_us, self.deadline_at)
        object.__setattr__(self, "plain", all(value is None for value in given))

    @property
    def spec(self) -> SubmitSpec[P, R_co]:
        return self

    def command(
        self, task: bytes, now: int, payload: bytes, digest: bytes, *, more: Mapping[str, Any] | None = None, internal: bool = False
    ) -> Submit:
        """The kernel's command for a submit at `now`.  `task` is minted by the caller, and used unless `id=` chose another.

        `more`: further options of the event (parent, root).
        """
        name, size = self.handler.name, len(payload)
        if self.plain and not more:
            return _new(
                Submit, (task, name, self.priority, None, DUE_BY_DURATION, size, digest, 0, None, self.fixed, internal, self.on_conflict)
            )  # fmt: skip
        due_at, due_kind = None, DUE_BY_DURATION
        if self.delay_us is not None:
            due_at = now + self.delay_us
        elif self.at_us is not None:
            due_at, due_kind = self.at_us, DUE_BY_INSTANT
        options = self.fixed
        if more:
            options = {**(options or {}), **more}
        if self.deadline_us is not None:
            options = {**(options or {}), "deadline_at": now + self.deadline_us, "deadline_kind": DUE_BY_DURATION}
        elif self.deadline_at is not None:
            options = {**(options or {}), "deadline_at": self.deadline_at}
        task = task if self.task is None else self.task
        return _new(
            Submit, (task, name, self.priority, due_at, due_kind, size, digest, 0, None, options, internal, self.on_conflict)
        )  # fmt: skip


# What `Engine.submit_many` takes: a handler, with options or without, or its name; arguments; named arguments.  A BoundCall is one.
Item = tuple[Submittable[..., Any] | str, Sequence[Any], Mapping[str, Any]]


# --- each option ------------------------------------------------------------------------------------------------------


def _changed(spec: SubmitSpec[P, R_co], changed: dict[str, Any], fixed: Mapping[str, Any]) -> SubmitSpec[P, R_co]:
    """`spec` with these changes.  ValueError for options that contradict each other."""
    named = "after" in changed  # perhaps no tasks at all: a program's list of them may be empty today
    if fixed:
        changed["fixed"] = {**(spec.fixed or {}), **fixed}
    if not changed:
        return spec
    made = replace(spec, **changed)
    options = made.fixed or {}
    check_unique(options, made.on_conflict, due=made.delay_us is not None or made.at_us is not None, after=bool(made.after))
    if fixed.get("after_failure") == "run" and not made.after and not named:
        raise ValueError("after_failure says how after= is meant: give after= as well")
    return made


def _labels(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of these was given, checked."""
    return {name: _CHECKS[name](value) for name, value in given.items() if value is not None}


def limit_us(value: Seconds | None, what: str) -> int:
    """Microseconds; 0 for None, which says "no limit" out loud where an absent one would leave it to the next in line."""
    return 0 if value is None else microseconds(value, what, least=1)


def whole(value: object, what: str, least: int, most: int) -> int:
    """`value`, if it is a whole number within these bounds; ValueError, beginning with `what`, if it is not."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what} must be a whole number from {least} to {most}, not {value!r}")
    return int(value)


def _due(delay: Seconds | None, at: datetime | None) -> dict[str, Any]:
    if delay is not None and at is not None:
        raise ValueError("give delay (from the submit) or at (an instant), not both")
    if delay is not None:
        return {"delay_us": microseconds(delay, "delay") or None, "at_us": None}
    if not isinstance(at, datetime):
        raise ValueError(f"at must be an aware datetime, not {at!r}")
    return {"at_us": max(0, instant_us(at, "at")), "delay_us": None}


def _deadline(deadline: Seconds | datetime) -> dict[str, Any]:
    if isinstance(deadline, datetime):
        return {"deadline_at": max(0, instant_us(deadline, "deadline")), "deadline_us": None}
    if isinstance(deadline, (int, float, timedelta)):
        return {"deadline_us": microseconds(deadline, "deadline"), "deadline_at": None}
    raise ValueError(f"deadline must be an aware datetime or seconds, not {deadline!r}")


def _owner(owner: tuple[str, str]) -> list[str]:
    if not isinstance(owner, (tuple, list)) or len(owner) != 2:
        raise ValueError(f"owner must be a pair (kind, id) of str, not {owner!r}")
    return [check_name(owner[0], "owner kind"), check_name(owner[1], "owner id")]


def _tags(tags: Collection[str]) -> list[str]:
    if isinstance(tags, str) or not isinstance(tags, Collection):
        raise ValueError(f"tags must be a collection of str, not one str: did you mean ({tags!r},)?")
    if len(tags) > TAGS_MAX:
        raise ValueError(f"a task can have {TAGS_MAX} tags, not {len(tags)}")
    return list(dict.fromkeys(check_name(tag, "tag") for tag in tags))


def _meta(meta: Mapping[str, str | int | bool | None]) -> dict[str, str | int | bool | None]:
    size = 0
    if not isinstance(meta, Mapping):
        raise ValueError(f"meta must be a mapping, not {meta!r}")
    for key, value in meta.items():
        check_name(key, "meta key")
        if isinstance(value, str):
            if not is_storable(value):
                raise ValueError(f"meta {key!r} holds a lone surrogate, which UTF-8 cannot store")
            size += len(value.encode("utf-8"))
        elif value is not None and (not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63):
            raise ValueError(f"meta {key!r} must be str, int of 64 bits, bool or None, not {value!r}")
        size += len(key.encode("utf-8")) + 8
    if size > META_MAX_BYTES:
        raise ValueError(f"meta takes {size:,} bytes, the limit is {META_MAX_BYTES:,}; large things belong into the arguments")
    return dict(meta)


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "key": lambda key: check_name(key, "key"),
    "owner": _owner,
    "source": lambda source: check_name(source, "source"),
    "tags": _tags,
    "attempts": lambda attempts: whole(attempts, "attempts", 1, ATTEMPTS_MAX),
    "cost": lambda cost: whole(cost, "cost", 1, BURST_MAX),
    "meta": _meta,
}

__all__ = ["UNSET", "BoundCall", "Item", "Limit", "SubmitSpec", "Submittable", "Target", "Unset", "limit_us", "whole"]

"""A task as its owner sees it: a frozen picture of one instant.

The kernel's TaskState changes while it is looked at and speaks in microseconds; this does neither.  Arguments and result are not
part of the picture until somebody looks: they are read then, once (DECISIONS 22 keeps them in records of their own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Generic, Self, TypeVar

from journeyman.journal.frozen import FrozenMap
from journeyman.journal.instants import instant_of
from journeyman.kernel.bounds import PPM
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State, observed
from journeyman.kernel.steps import in_order
from journeyman.kernel.taskstate import TaskState

T = TypeVar("T")
_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


class Later(Generic[T]):
    """A value that is read when it is first wanted."""

    __slots__ = ("_read", "_value")

    def __init__(self, read: Callable[[], T]) -> None:
        self._read: Callable[[], T] | None = read

    @property
    def value(self) -> T:
        if self._read is not None:
            self._value = self._read()
            self._read = None
        return self._value

    def __reduce__(self) -> tuple[Callable[[T], Later[T]], tuple[T]]:
        """With its value, read now: whoever reads it later may have no engine."""
        return _known, (self.value,)


def _known(value: T) -> Later[T]:
    return Later(lambda: value)


@dataclass(frozen=True, slots=True)
class Failure:
    """The last error of a task: the exception's type by name, its text, its traceback, and when that run ended (None while unknown)."""

    type: str
    message: str
    traceback: str
    at: datetime | None


def _nothing() -> Later[Any]:
    return Later(lambda: None)


@dataclass(frozen=True, slots=True)
class Task:
    """A task at one instant.  Instants are aware, UTC.

    seq: its place in the journal.  attempt: ordinal of the last run, 0 before the first.  failures, crashes: what it has spent of its two
    budgets.  progress: fraction from 0 to 1.  reason: why it failed, was cancelled or interrupted.  due_at: from when it may run (again).
    expires_at: when retention drops it; None while it has not ended, or if it is kept for ever.  after: ids of the tasks that it was
    submitted to run after.  waits_for: those of them that have not ended yet.  steps: names of its durable steps that are done, the
    first done first.

    It can be hashed, compared, copied and pickled (which reads arguments and result, as `read` does).
    """

    id: str
    seq: int
    queue: str
    handler: str
    state: State
    attempt: int
    failures: int
    max_attempts: int
    crashes: int
    priority: int
    key: str | None
    unique: str | None
    owner: tuple[str, str] | None
    source: str | None
    tags: tuple[str, ...]
    parent: str | None
    progress: float | None
    message: str | None
    error: Failure | None
    reason: str | None
    submitted_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    deadline_at: datetime | None
    meta: Mapping[str, Any] = field(hash=False)
    schedule: tuple[str, datetime] | None  # that submitted it, and the fire time
    after: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    _payload: Later[tuple[list[Any], dict[str, Any]] | None] = field(default_factory=_nothing, repr=False, compare=False)
    _result: Later[Any] = field(default_factory=_nothing, repr=False, compare=False)

    @property
    def payload(self) -> tuple[list[Any], dict[str, Any]] | None:
        """The arguments, (positional, named), typed if this process has the handler and they fit; None if they were dropped."""
        return self._payload.value

    @property
    def result(self) -> Any:
        """What the handler returned, typed by its annotation where that fits; None unless the task succeeded."""
        return self._result.value

    def read(self) -> Self:
        """Read arguments and result now, so that the picture outlives the engine."""
        _ = self._payload.value, self._result.value
        return self

    @property
    def ended(self) -> bool:
        """Whether it is succeeded, failed, cancelled or interrupted."""
        return self.finished_at is not None

    @classmethod
    def of(
        cls,
        task: TaskState,
        now: int,
        *,
        queue: str | None = None,
        attempts: int,
        payload: Callable[[], tuple[list[Any], dict[str, Any]] | None] | None = None,
        result: Callable[[], Any] | None = None,
        progress: tuple[int | None, str | None] | None = None,
    ) -> Self:
        """The picture of `task` at `now`.

        queue: what the asker calls its queue (default: as it is stored).  attempts: its queue's.  payload, result: read them when they are
        wanted.  progress: (millionths, message) of the running attempt, if they are newer than what the journal has.
        """
        options = task.options or _NO_OPTIONS
        ppm, message = (task.progress_ppm, task.message) if progress is None else progress
        owner, parent, fired = options.get("owner"), options.get("parent"), options.get("schedule")
        facts: dict[str, Any] = {
            "id": id_text(task.id),
            "seq": task.seq,
            "queue": task.queue if queue is None else queue,
            "handler": task.handler,
            "state": observed(task.state, task.due_at, now),
            "attempt": task.attempt,
            "failures": task.failures,
            "max_attempts": task.budget(attempts),
            "crashes": task.crashes,
            "priority": task.priority,
            "key": options.get("key"),
            "unique": options.get("unique"),
            "owner": None if owner is None else (owner[0], owner[1]),
            "source": options.get("source"),
            "tags": tuple(options.get("tags") or ()),
            "parent": None if parent is None else id_text(parent),
            "progress": None if ppm is None else ppm / PPM,
            "message": message,
            "error": _failure(task),
            "reason": task.reason,
            "submitted_at": instant_of(task.submitted_at),
            "due_at": instant_of(task.due_at),
            "started_at": _instant(task.started_at),
            "finished_at": _instant(task.finished_at),
            "expires_at": _instant(task.expires_at),
            "deadline_at": _instant(options.get("deadline_at")),
            "meta": FrozenMap(options.get("meta") or {}),
            "schedule": None if fired is None else (fired[0], instant_of(fired[1])),
            "after": tuple(map(id_text, options.get("after") or ())),
            "waits_for": tuple(map(id_text, sorted(task.waits_for or ()))),
            "steps": tuple(in_order(task)) if "steps" in options else (),
            "_payload": _nothing() if payload is None else Later(payload),
            "_result": _nothing() if result is None else Later(result),
        }
        picture = object.__new__(cls)
        for name, put in _FIELDS:  # what cls(**facts) does, in half the time: a list of a thousand tasks is mostly this
            put(picture, facts[name])
        return picture


_FIELDS: Final = tuple((each.name, getattr(Task, each.name).__set__) for each in fields(Task))


def _instant(us: int | None) -> datetime | None:
    return None if us is None else instant_of(us)


def _failure(task: TaskState) -> Failure | None:
    if task.error is None:
        return None
    ended_at = task.finished_at
    if ended_at is None and task.state is State.RETRYING and task.started_at is not None and task.elapsed_us is not None:
        ended_at = task.started_at + task.elapsed_us
    return Failure(task.error[0], task.error[1], task.error[2], _instant(ended_at))


__all__ = ["Failure", "Later", "Task"]

"""What was submitted within a block of a test: `with capture(engine) as captured:`.

Problem.  A test of application code wants to know what it submitted, on a simulated engine or a real one, and the engine should not
carry code for tests.  Choice: for the length of the block the doors of this one engine object (`submit`, `submit_many`, `submit_from`,
which is behind `ctx.submit`, and `commit_transaction`) are wrapped; what goes through them is done as ever, and remembered once it was
acknowledged.  Captured tasks are real: they run.  Pause the queue where they should not.

Rejected: reading the journal (it knows instants, not the `delay` that was said), a hook in the engine (production code for tests).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import Error as CopyError
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from journeyman.actors.attempt import Attempt
from journeyman.engine import Door, Handle, Transaction
from journeyman.engine.ids import id_bytes, id_text
from journeyman.engine.spec import UNSET, SubmitSpec, Submittable, Target, Unset
from journeyman.engine.submitting import call_of, spec_of
from journeyman.journal.instants import instant_of, instant_us
from journeyman.kernel.duration import Seconds, microseconds

_NOTHING: Final = "  nothing at all"


@dataclass(frozen=True, slots=True)
class Submitted:
    """One submit that was acknowledged.

    args, kwargs: as they were then, whatever became of the objects.  handle: of the task.  within: the task of the attempt that said
    `ctx.submit`, in whose success this one comes into being; None for any other submit.
    """

    handler: str
    queue: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    handle: Handle[Any]
    within: str | None
    spec: SubmitSpec[..., Any]

    @property
    def id(self) -> str:
        return self.handle.id

    @property
    def priority(self) -> int:
        return self.spec.priority

    @property
    def delay(self) -> float | None:
        """Seconds; None if it may run at once, or from an instant that was named."""
        return None if self.spec.delay_us is None else self.spec.delay_us / 1_000_000

    def __str__(self) -> str:
        options = []
        if self.spec.delay_us is not None:
            options.append(f"delay={self.spec.delay_us / 1_000_000:g}")
        if self.spec.at_us is not None:
            options.append(f"at={instant_of(self.spec.at_us)}")
        options.append(f"priority={self.priority}")
        if self.within is not None:
            options.append(f"with the success of {self.within}")
        return f"{self.handler}{_call(self.args, self.kwargs)}  {' '.join(options)}"


class Captured(Sequence[Submitted]):
    """What was submitted in the block so far, oldest first; it stays readable after the block."""

    def __init__(self) -> None:
        self._found: list[Submitted] = []

    def assert_submitted(
        self,
        handler: Target | str,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        delay: Seconds | Unset | None = UNSET,
        at: datetime | Unset | None = UNSET,
        priority: int | None = None,
        count: int | None = None,
    ) -> Submitted | None:
        """At least one such submit, or exactly `count` of them; the first one.

        handler: or its name.  What is not given is not compared.  With `args` or `kwargs` the whole call is: as the journal records it, so
        that send("a", "x") and send("a", subject="x") are one call.  delay=None, at=None: submitted without.
        """
        if isinstance(handler, SubmitSpec):
            raise TypeError(f"give the handler itself, and say its options here: assert_submitted({handler.handler.name}, delay=...)")
        if not isinstance(handler, (str, Submittable)):
            raise TypeError(f"give a handler or its name, and what it was called with as args=, kwargs=; not {handler!r:.80}")
        name = handler if isinstance(handler, str) else handler.spec.handler.name
        delay_us = delay if delay is UNSET or delay is None else microseconds(delay, "delay") or None
        at_us = at if at is UNSET or at is None else instant_us(at, "at")
        matching = [
            one
            for one in self._found
            if one.handler == name
            and ((args is None and kwargs is None) or _same_call(one, args or (), kwargs or {}))
            and (delay_us is UNSET or one.spec.delay_us == delay_us)
            and (at_us is UNSET or one.spec.at_us == at_us)
            and (priority is None or one.priority == priority)
        ]
        if len(matching) != count if count is not None else not matching:
            wanted = _wanted(name, args, kwargs, delay, at, priority)
            often = "was not submitted" if count is None else f"was submitted {_times(len(matching))}, not {_times(count)}"
            raise AssertionError(f"{wanted} {often}; in this block there was\n{self}")
        return matching[0] if matching else None

    def assert_nothing_submitted(self) -> None:
        if self._found:
            raise AssertionError(f"nothing should have been submitted; in this block there was\n{self}")

    def __getitem__(self, at: Any) -> Any:
        return self._found[at]

    def __len__(self) -> int:
        return len(self._found)

    def __str__(self) -> str:
        return "\n".join(f"  {one}" for one in self._found) or _NOTHING

    def add(self, one: Submitted) -> None:
        """For the doors of an engine."""
        self._found.append(one)


# A listener, and the engine that the handles it is given should ask: the same, but for the engine of one boot of a simulation.
Listener = tuple[Captured, Door]
# Who listens at which engine.  Blocks may overlap and end in any order: the doors are put back when nobody listens any more.
_listening: WeakKeyDictionary[Door, list[Listener]] = WeakKeyDictionary()


@contextmanager
def capture(engine: Door) -> Iterator[Captured]:
    """Remember what is submitted through `engine`, by anybody, until the block ends.  The tasks run as always."""
    captured = Captured()
    listen(engine, captured)
    try:
        yield captured
    finally:
        forget(engine, captured)


def listen(engine: Door, captured: Captured, asks: Door | None = None) -> None:
    """From here on `captured` hears of every submit through this engine object; its handles ask the engine `asks`, or this one."""
    listeners = _listening.setdefault(engine, [])
    if not listeners:
        doors = vars(engine)
        doors["submit"] = _submit(engine, engine.submit, listeners)
        doors["submit_many"] = _submit_many(engine, engine.submit_many, listeners)
        doors["submit_from"] = _submit_from(engine, engine.submit_from, listeners)
        doors["commit_transaction"] = _commit_transaction(engine, engine.commit_transaction, listeners)
    listeners.append((captured, asks or engine))


def forget(engine: Door, captured: Captured) -> None:
    listeners = _listening.get(engine, [])
    listeners[:] = [listener for listener in listeners if listener[0] is not captured]
    if not listeners and _listening.pop(engine, None) is not None:
        for door in ("submit", "submit_many", "submit_from", "commit_transaction"):
            del vars(engine)[door]


def _tell(
    engine: Door,
    listeners: list[Listener],
    target: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    handle: Handle[Any],
    within: str | None = None,
) -> None:
    spec = target.spec if isinstance(target, Submittable) else spec_of(engine._opened(), target)
    for captured, asks in listeners:
        mine = handle if asks is engine else Handle(asks, id_bytes(handle.id))
        captured.add(Submitted(spec.handler.name, spec.handler.queue_name, tuple(args), dict(kwargs), mine, within, spec))


def _submit(engine: Door, production: Callable[..., Any], listeners: list[Listener]) -> Callable[..., Any]:
    @functools.wraps(production)
    async def submit(target: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        said = _kept(args, kwargs)
        handle: Handle[Any] = await production(target, *args, **kwargs)
        _tell(engine, listeners, target, *said, handle)
        return handle

    return submit


def _submit_many(engine: Door, production: Callable[..., Any], listeners: list[Listener]) -> Callable[..., Any]:
    @functools.wraps(production)
    async def submit_many(items: Any) -> list[Handle[Any]]:
        items = list(items)
        said = [(target, *_kept(args, kwargs)) for target, args, kwargs in map(call_of, items)]
        handles: list[Handle[Any]] = await production(items)
        for call, handle in zip(said, handles, strict=True):
            _tell(engine, listeners, *call, handle)
        return handles

    return submit_many


def _commit_transaction(engine: Door, production: Callable[..., Any], listeners: list[Listener]) -> Callable[..., Any]:
    @functools.wraps(production)
    async def commit_transaction(tx: Transaction) -> None:
        said = [(target, *_kept(args, kwargs)) for target, args, kwargs in (one.said for one in tx.wanted)]
        await production(tx)
        for call, one in zip(said, tx.wanted, strict=True):
            _tell(engine, listeners, *call, one.handle)

    return commit_transaction


def _submit_from(engine: Door, production: Callable[..., Any], listeners: list[Listener]) -> Callable[..., Any]:
    @functools.wraps(production)
    def submit_from(attempt: Attempt, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Handle[Any]:
        handle: Handle[Any] = production(attempt, target, args, kwargs)
        _tell(engine, listeners, target, *_kept(args, kwargs), handle, id_text(attempt.task.id))
        return handle

    return submit_from


def _kept(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments as they are now, before the first await: the journal has them so, whatever the caller does to its lists later."""
    try:
        return deepcopy((args, kwargs))
    except (TypeError, CopyError):  # nor will the journal take them
        return args, kwargs


# --- comparing and telling --------------------------------------------------------------------------------------------


def _same_call(one: Submitted, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    target: Any = one.spec.handler
    wanted, given = target.encode_call(args, kwargs), target.encode_call(one.args, one.kwargs)
    return bool(wanted == given or target.decode_call(wanted) == target.decode_call(given))


def _wanted(
    name: str,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    delay: Seconds | Unset | None,
    at: datetime | Unset | None,
    priority: int | None,
) -> str:
    call = name if args is None and kwargs is None else name + _call(args or (), kwargs or {})
    options = [f"delay={delay}"] if delay is not UNSET else []
    options += [f"at={at}"] if at is not UNSET else []
    options += [f"priority={priority}"] if priority is not None else []
    return f"{call} with {' '.join(options)}" if options else call


def _call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    return f"({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"


def _times(n: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n} times")

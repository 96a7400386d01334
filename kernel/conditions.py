"""Submits with conditions: a unique key, or tasks to run after.  What else such a submit comes to, beside its own TaskSubmitted.

A unique key (kernel/unique.py) may answer with another task, move it, or end those that the new one replaces; a task that was to run after
one that has failed (kernel/dependencies.py) ends as it comes in.  Most submits have neither, and never come here.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, NamedTuple

from journeyman.kernel.commands import Answer, Env, Refused, Submit
from journeyman.kernel.dependencies import BY, unmet
from journeyman.kernel.dispatch import cancelled
from journeyman.kernel.events import DUE_BY_DURATION, Event, Options, TaskSubmitted
from journeyman.kernel.state import QueueState
from journeyman.kernel.unique import Holder, Keys, due


class Entry(NamedTuple):
    """What a submit with conditions comes to.  `answer` None: a new task, due and with options as they are here."""

    answer: Answer | None
    moved: Event | None = None
    replaced: tuple[Holder, ...] = ()
    failed: str | None = None  # why it ends as it comes in
    due_at: int | None = None
    due_kind: int = DUE_BY_DURATION
    options: Options = None


class Conditions:
    """Of one decision on submits.  `mixed`: whether anything but a TaskSubmitted has come of them so far."""

    def __init__(self, state: QueueState, now: int, env: Env) -> None:
        self._state = state
        self._now = now
        self._env = env
        self._keys = Keys(state, now)
        self.mixed = False

    def ask(self, command: Submit, fresh: Container[bytes], qseq: int) -> Entry:
        """For a command whose id is new.  `fresh`: ids that came earlier; `qseq`: of its first event."""
        options: Any = command.options
        failed = None
        if "after" in options:
            found = unmet(options, self._env.dependencies, fresh)
            if isinstance(found, Refused):
                return Entry(found)
            failed = found.failed
            if found.waits_for:
                options = {**options, "waits_for": found.waits_for}
        if "unique" not in options:
            return Entry(None, None, (), failed, command.due_at, command.due_kind, options)
        claim = self._keys.ask(command, options, qseq)
        if claim.moved is not None:
            self.mixed = True
        if claim.answer is not None:
            return Entry(claim.answer, claim.moved)
        due_at, due_kind = command.due_at, command.due_kind
        if "debounce_us" in options:
            due_at, latest_at = due(options, self._now, None)
            due_kind = DUE_BY_DURATION
            options = options if latest_at is None else {**options, "latest_at": latest_at}
        return Entry(None, None, claim.replaced, failed, due_at, due_kind, options)

    def around(self, entry: Entry, event: TaskSubmitted) -> list[Event]:
        """`event` with what goes before and after it; its own number follows those that go before."""
        ends: list[Event] = []
        first = event.qseq - self._state.qseq
        for place, holder in enumerate(entry.replaced):
            ends.append(cancelled(self._state, holder.id, self._now, first + place, "replaced", "unique"))
        event = event._replace(qseq=event.qseq + len(ends))
        events: list[Event] = [*ends, event]
        if "unique" in (event.options or ()):
            self._keys.came(event, entry.replaced)
        if entry.failed is not None:
            events.append(cancelled(self._state, event.task, self._now, first + len(events), entry.failed, BY))
            if "unique" in (event.options or ()):
                self._keys.went(event)
        self.mixed = self.mixed or len(events) > 1
        return events


__all__ = ["Conditions", "Entry"]

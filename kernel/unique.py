"""Unique keys at submit: is the key free, and if not, what becomes of whom?

At most one unfinished task of a queue bears a key.  The rules, in the order in which they are asked:

1. The id comes first.  A submit with the id of a task that is there is that task again, whatever its key (kernel/submit.py).
2. Debounced: only tasks that wait and were never started stand in the way.  The one that does is moved: it is due `debounce` after this
   submit, never beyond `max_wait` after the first one that named a `max_wait`, and carries this submit's arguments.
3. Otherwise every unfinished task with the key stands in the way, or those whose state, as observed now, is in `unique_states`.
   return: the answer names the oldest of them.  raise: DuplicateTask.  replace: they are cancelled and this one takes their place, unless
   one of them runs.
4. A key that a successful task keeps taken (`unique_for`): return names that task, which may be gone by then; raise and replace refuse.
   Debounced submits do not ask.

Work for another handler is never handed back or given other arguments: DuplicateTask.

Submits decided together see each other, so what this decision has come to so far is kept here (`Keys`), beside what the state knows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from journeyman.kernel.commands import Accepted, Answer, Refused, Submit
from journeyman.kernel.events import DUE_BY_DURATION, TaskRescheduled, TaskSubmitted
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import State, observed
from journeyman.kernel.state import QueueState


class Holder(NamedTuple):
    """An unfinished task with a unique key, as far as this decision has come."""

    id: bytes
    handler: str
    state: State  # as observed now
    started: bool
    latest_at: int | None


class Claim(NamedTuple):
    """What a submit with a unique key comes to.  `answer` None: a new task; the `replaced` end first."""

    answer: Answer | None
    moved: TaskRescheduled | None = None
    replaced: tuple[Holder, ...] = ()


class Keys:
    """The keys that one decision asks about."""

    def __init__(self, state: QueueState, now: int) -> None:
        self._state = state
        self._now = now
        self._holders: dict[str, list[Holder]] = {}

    def _of(self, key: str) -> list[Holder]:
        found = self._holders.get(key)
        if found is None:
            found = self._holders[key] = [
                Holder(task.id, task.handler, observed(task.state, task.due_at, self._now), task.attempt > 0, task.latest_at)
                for task in self._state.claims.holders.get(key, ())
            ]
        return found

    def ask(self, command: Submit, options: Any, qseq: int) -> Claim:
        """What becomes of `command`, whose id is new.  `qseq`: the number of its event if it moves a task."""
        key = options["unique"]
        holders = self._of(key)
        if options.get("debounce_us") is not None:
            resting = [holder for holder in holders if holder.state is not State.RUNNING and not holder.started]
            return self._move(command, options, resting[0], qseq) if resting else Claim(None)
        states = options.get("unique_states")
        taken = [holder for holder in holders if states is None or holder.state in states]
        hold = self._state.claims.held(key, self._now)
        if taken and (hold is None or command.on_conflict != "replace"):
            return self._conflict(command, key, taken)
        if hold is None:
            return Claim(None)
        if command.on_conflict == "return":
            return Claim(Accepted(hold.task, existing=True))
        left = (hold.until_at - self._now) / 1e6
        text = f"the unique key {key!r} is taken for {left:.6g} s more by task {id_text(hold.task)}, which has succeeded"
        return Claim(Refused("DuplicateTask", text))

    def _conflict(self, command: Submit, key: str, taken: list[Holder]) -> Claim:
        first = taken[0]
        if command.on_conflict == "return":
            return _another(first, key, command) or Claim(Accepted(first.id, existing=True))
        running = next((holder for holder in taken if holder.state is State.RUNNING), None)
        if command.on_conflict == "raise" or running is not None:
            who = running or first
            text = f"the unique key {key!r} is taken by task {id_text(who.id)}, which is {who.state}"
            return Claim(Refused("DuplicateTask", text + (" and cannot be replaced" if command.on_conflict == "replace" else "")))
        return Claim(None, None, tuple(taken))

    def _move(self, command: Submit, options: Any, holder: Holder, qseq: int) -> Claim:
        """A debounced submit finds one that waits: that one is due later and carries the newer arguments."""
        now, state, key = self._now, self._state, options["unique"]
        refused = _another(holder, key, command)
        if refused is not None:
            return refused
        due_at, latest_at = due(options, now, holder.latest_at)
        more: dict[str, Any] = {"payload_len": command.payload_len, "payload_digest": command.payload_digest, "codec": command.codec}
        if latest_at is not None:
            more["latest_at"] = latest_at
        moved = TaskRescheduled(
            now, state.name, qseq, state.epoch, holder.id, due_at, DUE_BY_DURATION, due_at, "debounce", "debounced", more
        )
        holders = self._of(key)
        rest = State.SCHEDULED if due_at > now else State.PENDING
        holders[holders.index(holder)] = holder._replace(state=rest, latest_at=latest_at)
        return Claim(Accepted(holder.id, existing=True), moved)

    def came(self, event: TaskSubmitted, replaced: tuple[Holder, ...]) -> None:
        """`event` is part of the decision, and the end of the `replaced`."""
        options: Any = event.options
        holders = self._of(options["unique"])
        for holder in replaced:
            holders.remove(holder)
        rest = State.SCHEDULED if event.due_at > event.at else State.PENDING
        holders.append(Holder(event.task, event.handler, rest, False, options.get("latest_at")))

    def went(self, event: TaskSubmitted) -> None:
        """It has ended in the same decision."""
        options: Any = event.options
        holders = self._of(options["unique"])
        holders[:] = [holder for holder in holders if holder.id != event.task]


def due(options: Any, now: int, latest_at: int | None) -> tuple[int, int | None]:
    """When a debounced task is due, and the instant that further submits do not push it beyond."""
    if latest_at is None and (max_wait := options.get("max_wait_us")) is not None:
        latest_at = now + max_wait
    due_at = now + options["debounce_us"]
    return (due_at if latest_at is None else max(now, min(due_at, latest_at))), latest_at


def _another(holder: Holder, key: str, command: Submit) -> Claim | None:
    if holder.handler == command.handler:
        return None
    text = f"the unique key {key!r} is taken by task {id_text(holder.id)} of handler {holder.handler!r}; keys belong to the queue"
    return Claim(Refused("DuplicateTask", text))


__all__ = ["Claim", "Holder", "Keys", "due"]

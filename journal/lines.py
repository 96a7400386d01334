"""One event as a line for people, and as a line of JSON.

`journeyman log` prints a hundred thousand of these a second, so what is the same for all events of a kind is worked out once: which words
say what matters in it, its colour, and how its fields are spelled in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from journeyman.journal.redaction import Redaction
from journeyman.journal.wording import instant, jsonable, span, visible
from journeyman.kernel import events as e
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.policy import Priority
from journeyman.kernel.schedule_events import ScheduleDeclared, ScheduleFired, ScheduleRemoved
from journeyman.kernel.tags import TAGS
from journeyman.kernel.taskstate import ROW
from journeyman.kernel.values import key_text, shown_key

KINDS: Final[Mapping[str, type[Any]]] = {kind.__name__.lower(): kind for kind in TAGS.values()}
_GOOD, _BAD, _WARN, _BUSY, _CALM = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[35m"
_PLAIN = "\x1b[0m"
_COLOURS: Final[dict[type[Any], str]] = {
    e.TaskSucceeded: _GOOD,
    **dict.fromkeys((e.TaskFailed, e.TaskInterrupted, e.AttemptLost), _BAD),
    **dict.fromkeys((e.AttemptFailed, e.TaskCancelled, e.CancelRequested, e.TransitionRejected, e.QueuePaused, e.QueueParkedUntil), _WARN),
    **dict.fromkeys((e.AttemptStarted, e.AttemptSnoozed, e.AttemptReleased, e.ProgressSampled, e.StepRecorded), _BUSY),
    **dict.fromkeys((e.EngineBooted, e.EngineClosed, e.ClockStepped, e.JournalCompacted, e.QueueOpened, e.QueueConfigured), _CALM),
}
_META: Final = ROW.index("options")
_ID_BYTES: Final = 16


def _who(by: str, reason: str) -> str:
    return " ".join(filter(None, (f"by {by}" if by else "", f"({reason})" if reason else "")))


def _error(error: Any) -> str:
    return "" if error is None else f"{error[0]}: {_one_line(error[1])}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _submitted(event: e.TaskSubmitted) -> str:
    found = [event.handler]
    if event.due_at > event.at:
        found.append(f"due in {span(event.due_at - event.at)}")
    if event.priority != Priority.NORMAL:
        found.append(f"priority {event.priority}")
    options = event.options or {}
    found += [f"{name} {options[name]!r}" for name in ("key", "unique", "owner", "source", "tags", "cost") if name in options]
    if options.get("waits_for"):
        found.append(f"after {len(options['waits_for'])} others")
    return ", ".join(found)


def _configured(event: e.QueueConfigured) -> str:
    options = event.options or {}
    return " ".join(filter(None, ("live" if options.get("live") else "declared", _who(event.by, options.get("reason", "")))))


def _progress(event: e.ProgressSampled) -> str:
    part = "" if event.fraction_ppm is None else f"{event.fraction_ppm / 10_000:.0f}% "
    return part + _one_line(event.message or "")


def _fired(event: ScheduleFired) -> str:
    what = f"submitted {id_text(event.submitted)}" if event.submitted else f"none: {event.reason}"
    return f"{event.name} for {instant(event.fire_at)}, {what}"


def _put(event: e.ValuePut) -> str:
    found = [shown_key((event.namespace, event.key)), "deleted" if event.deleted else f"{event.value_len:,} bytes"]
    if event.by_task is not None:
        found.append(f"with the success of {id_text(event.by_task)}")
    return ", ".join([*found, *filter(None, [_who((event.options or {}).get("by", ""), (event.options or {}).get("reason", ""))])])


_WORDS: Final[dict[type[Any], Callable[[Any], str]]] = {
    e.TaskSubmitted: _submitted,
    e.AttemptStarted: lambda v: f"run {v.attempt}, waited {span(max(0, v.at - v.eligible_at))}",
    e.TaskSucceeded: lambda v: f"run {v.attempt}, {span(v.elapsed_us)}",
    e.AttemptFailed: lambda v: f"run {v.attempt}, {span(v.elapsed_us)}, again in {span(v.due_at - v.at)}: {_error(v.error)}",
    e.TaskFailed: lambda v: f"run {v.attempt}, {span(v.elapsed_us)} ({v.reason}): {_error(v.error)}",
    e.TaskCancelled: lambda v: _who(v.by, v.reason),
    e.TaskInterrupted: lambda v: f"run {v.attempt}: {v.reason}",
    e.AttemptLost: lambda v: f"run {v.attempt}, {v.crashes} in all" + ("" if v.entered else ", handler not entered"),
    e.AttemptReleased: lambda v: f"run {v.attempt}, {span(v.elapsed_us)}: {v.reason}",
    e.AttemptSnoozed: lambda v: f"run {v.attempt}, {span(v.elapsed_us)}, again in {span(v.due_at - v.at)}",
    e.CancelRequested: lambda v: f"run {v.attempt} {_who(v.by, v.reason)}",
    e.ProgressSampled: _progress,
    e.StepRecorded: lambda v: f"{v.name}, run {v.attempt}" + (f", {v.result_len} bytes" if v.result_len else ""),
    e.TaskRetried: lambda v: _who(v.by, v.reason),
    e.TransitionRejected: lambda v: f"late {v.kind} of run {v.attempt}; the task was {v.state}",
    e.TaskRescheduled: lambda v: f"due in {span(v.due_at - v.at)} {_who(v.by, v.reason)}",
    e.TaskReprioritised: lambda v: f"priority {v.priority} {_who(v.by, v.reason)}",
    e.DependencyMet: lambda v: ", ".join(f"{id_text(one[0])} {one[1]}" for one in v.met[:3]) + (" ..." if len(v.met) > 3 else ""),
    e.QueueOpened: lambda v: f"epoch {v.epoch}",
    e.QueueConfigured: _configured,
    e.QueuePaused: lambda v: _who(v.by, v.reason),
    e.QueueResumed: lambda v: _who(v.by, v.reason),
    e.QueueParkedUntil: lambda v: f"for {span(v.until_at - v.at)} {_who(v.by, v.reason)}",
    e.TasksPruned: lambda v: f"{len(v.entries)} tasks {_who(v.by, (v.options or {}).get('reason', ''))}",
    e.ValuePut: _put,
    ScheduleDeclared: lambda v: v.name,
    ScheduleRemoved: lambda v: v.name,
    ScheduleFired: _fired,
    e.EngineBooted: lambda v: f"boot {v.epoch}, process {v.facts.get('pid')}{'' if v.facts.get('clean') else '; the last one had died'}",
    e.EngineClosed: lambda v: f"boot {v.epoch}",
    e.ClockStepped: lambda v: f"by {span(v.delta_us)}",
    e.JournalCompacted: lambda v: f"{v.totals.get('records')} records up to seq {v.through_seq}",
}


def words(event: e.Event) -> str:
    """What matters in it."""
    say = _WORDS.get(type(event))
    return "" if say is None else say(event)


class Lines:
    """Makes the lines of one command."""

    def __init__(self, redaction: Redaction, *, colour: bool = False) -> None:
        self._redaction = redaction
        self._colour = colour
        self._second, self._prefix = -1, ""
        self._queues: dict[str, str] = {}

    def text(self, seq: int, event: e.Event) -> str:
        """Seq, time, queue, task, kind, what matters in it."""
        kind = type(event)
        id = getattr(event, "task", None)
        head = f"{seq:>8} {self._time(event.at)} {self._queue(event.queue):<12} {'-' if id is None else id_text(id):<36} "
        name, said = f"{kind.__name__:<17}", visible(words(event), lines=False)
        if self._colour and kind in _COLOURS:
            name = f"{_COLOURS[kind]}{name}{_PLAIN}"
        return f"{head}{name} {said}".rstrip()

    def _queue(self, name: str) -> str:
        shown = self._queues.get(name)
        if shown is None:
            shown = self._queues[name] = visible(shown_name(name), lines=False) or "-"
        return shown

    def _time(self, at: int) -> str:
        second, rest = divmod(at, 1_000_000)
        if second != self._second:
            self._second, self._prefix = second, instant(second * 1_000_000)[:-4]
        return f"{self._prefix}{rest // 1_000:03d}Z"

    def json(self, seq: int, event: e.Event) -> str:
        """All its fields, those of `options` among them; instants and durations in microseconds."""
        found = facts(seq, event, self._redaction)
        try:
            return json.dumps(found, ensure_ascii=False, allow_nan=False, default=_plain)
        except (TypeError, ValueError):  # a map with keys of bytes, a number that is none
            return json.dumps(jsonable(found), ensure_ascii=False, allow_nan=False)


def facts(seq: int, event: e.Event, redaction: Redaction) -> dict[str, Any]:
    """An event as JSON names it."""
    kind = type(event)
    fields = event._asdict()
    options = fields.pop("options")
    found: dict[str, Any] = {"seq": seq, "kind": kind.__name__, "at_us": fields.pop("at"), "queue": shown_name(fields.pop("queue"))}
    for name, value in fields.items():
        found[name] = value if type(value) is not bytes else spelled(name, value)
    if options:
        found.update(_with_ids(_redacted(options, redaction)))
    if kind is e.TaskRetried:
        row = list(found["row"])
        row[_META] = None if row[_META] is None else _redacted(row[_META], redaction)
        found["row"] = {name: spelled(name, value) for name, value in zip(ROW, row, strict=False)}
    elif kind is ScheduleDeclared:
        spec = dict(found["spec"])
        spec["payload"] = f"[{len(spec.get('payload') or b'')} bytes]"  # encoded arguments: nobody can tell what is a secret in them
        spec["options"] = _redacted(spec.get("options") or {}, redaction)
        found["spec"] = spec
    elif kind is e.ValuePut:
        found["key"] = key_text(event.key)  # type: ignore[union-attr]
    elif kind is e.DependencyMet:
        found["met"] = [[id_text(one[0]), *one[1:]] for one in found["met"]]
    return found


def _redacted(options: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    """Options of a task, with what its owner put into `meta` redacted."""
    found = dict(options)
    if "meta" in found:
        found["meta"] = redaction.value(found["meta"])
    return found


def _with_ids(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spelled(name, value) for name, value in options.items()}


def spelled(name: str, value: Any) -> Any:
    """Bytes in a field of this name: ids as ids, the rest in hex."""
    if isinstance(value, bytes):
        return id_text(value) if len(value) == _ID_BYTES and "digest" not in name else value.hex()
    if isinstance(value, list | tuple | set | frozenset) and value and all(isinstance(one, bytes) for one in value):
        return [spelled(name, one) for one in value]
    return value


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes | bytearray) else jsonable(value)


__all__ = ["KINDS", "Lines", "facts", "spelled", "words"]

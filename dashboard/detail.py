"""One task on a page: its facts, every run with its error, its events in time, why it waits, and what belongs to it.

All of it is bounded: the newest EVENTS events and the first one, errors and values up to a length, of many relatives a few and a link.
What each wait was for needs a fold of the journal (journal/waits.py), so it stays with `journeyman task`; why the task waits now is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from journeyman.dashboard.shown import Hiding, cut, decoded
from journeyman.journal.contents import arguments, result
from journeyman.journal.echoes import Echoes
from journeyman.journal.following import Newest
from journeyman.journal.lines import spelled, words
from journeyman.journal.log import Journal
from journeyman.journal.redaction import HIDDEN
from journeyman.journal.timeline import Attempt, Life, life_of, reasons_of
from journeyman.journal.wording import jsonable
from journeyman.kernel.events import TransitionRejected
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import observed
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.taskstate import TaskState

EVENTS: Final = 500
_VALUE: Final = 16_384  # characters of an argument, a result, meta
_MESSAGE: Final = 4_096
_TRACE: Final = 16_384
_LINE: Final = 1_000
_KIN: Final = 20  # relatives that are named
_STEPS: Final = 50
_OPTIONS: Final = ("key", "unique", "source", "tags", "cost", "deadline_at", "attempts", "timeout_us", "schedule")


def task_page(newest: Newest, task: TaskState, hiding: Hiding) -> dict[str, Any]:
    """Everything about a task, as plain values."""
    life = life_of(Journal(newest.view.store), task, newest.now, EVENTS)
    options = task.options or {}
    echoes = hiding.echoes(task, life.arguments, decoded(life.result), {name: decoded(data) for name, data in life.steps.items()})
    queue = newest.state.queues[task.queue]
    own = options.get("attempts")
    return {
        "now_us": newest.now,
        "id": id_text(task.id),
        "seq": task.seq,
        "queue": shown_name(task.queue),
        "handler": task.handler,
        "state": observed(task.state, task.due_at, newest.now).value,
        "reason": _text(echoes, task.reason, _MESSAGE),
        "error": _error(echoes, task.error),
        "progress": None if task.progress_ppm is None else task.progress_ppm / 1_000_000,
        "message": _text(echoes, task.message, _MESSAGE),
        "cancel": None if task.cancel is None else {"reason": _text(echoes, task.cancel[0], _MESSAGE), "by": task.cancel[1]},
        "attempt": task.attempt,
        "failures": task.failures,
        "max_failures": queue.policy.attempts if own is None else own,
        "crashes": task.crashes,
        "priority": task.priority,
        "owner": ":".join(map(str, options["owner"])) if options.get("owner") else None,
        "options": {name: jsonable(spelled(name, options[name])) for name in _OPTIONS if options.get(name) is not None},
        "submitted_at_us": task.submitted_at,
        "due_at_us": task.due_at,
        "started_at_us": task.started_at,
        "finished_at_us": task.finished_at,
        "expires_at_us": task.expires_at,
        "elapsed_us": task.elapsed_us,
        **_values(newest, task, life, hiding, echoes),
        "steps": [{"name": name, "value": _step(name, data, hiding, echoes)} for name, data in list(life.steps.items())[-_STEPS:]],
        "steps_count": len(life.steps),
        "reasons": [
            {"kind": reason.kind, "text": cut(echoes.text(reason.text), _LINE), "until_at_us": reason.until_at}
            for reason in reasons_of(newest.state, task, newest.now, newest.owner)
        ],
        "attempts": [_attempt(one, echoes) for one in reversed(life.attempts)],
        "events": [_event(seq, event, echoes) for seq, event in reversed(life.events)],
        "left_out": max(0, len(task.seqs) - len(life.events)),
        **_kin(newest, task),
    }


def _values(newest: Newest, task: TaskState, life: Life, hiding: Hiding, echoes: Echoes) -> dict[str, Any]:
    """Arguments, result and meta: as values where they are small, and as text of a bounded length."""
    called = arguments(task.handler, life.arguments, hiding.redaction)
    meta = hiding.redaction.value((task.options or {}).get("meta"))
    known = newest.view.parameters().get(task.handler, ())
    names = next(iter(known)) if len(known) == 1 else ()  # as its handler is declared, if nobody ever declared it otherwise
    return {
        "arguments_bytes": task.payload_len,
        "arguments": None if called is None else _lines(called, names, echoes),
        "result_bytes": task.result_len,
        "has_result": life.result is not None,
        "result": None if life.result is None else _value(echoes.value(result(life.result, hiding.redaction))),
        "meta": None if not meta else _value(echoes.value(jsonable(meta))),
    }


def _lines(called: Mapping[str, Any], names: Sequence[str], echoes: Echoes) -> list[dict[str, Any]]:
    """Arguments one by one: name or place, and value."""
    if "undecodable_bytes" in called:
        return [{"name": "?", "value": f"{called['undecodable_bytes']} bytes that cannot be decoded"}]
    placed = [(names[place] if place < len(names) else place, value) for place, value in enumerate(called["args"])]
    pairs = [*placed, *called["kwargs"].items()]
    shown = [{"name": str(name), "value": _value(echoes.value(value), _VALUE // 4)} for name, value in pairs[:_KIN]]
    if len(pairs) > _KIN:
        shown.append({"name": "\u2026", "value": f"{len(pairs) - _KIN:,} more"})
    return shown


def _value(value: Any, most: int = _VALUE) -> str:
    return cut(repr(value), most)


def _step(name: str, data: bytes | None, hiding: Hiding, echoes: Echoes) -> str:
    if data is None:
        return "done, its value is not kept"
    return HIDDEN if hiding.redaction.hides(name) else _value(echoes.value(result(data, hiding.redaction)), _VALUE // 4)


def _text(echoes: Echoes, text: str | None, most: int) -> str | None:
    return None if text is None else cut(echoes.text(text), most)


def _error(echoes: Echoes, error: Any) -> dict[str, str] | None:
    if error is None:
        return None
    return {
        "type": str(error[0]),
        "message": cut(echoes.text(error[1]), _MESSAGE),
        "traceback": _end(echoes.text(error[2])),
    }


def _end(trace: str) -> str:
    """The end of a traceback says most."""
    return trace if len(trace) <= _TRACE else f"[the last {_TRACE:,} of {len(trace):,} characters] \u2026{trace[-_TRACE:]}"


def _attempt(one: Attempt, echoes: Echoes) -> dict[str, Any]:
    return {
        "number": one.number,
        "started_at_us": one.started_at,
        "ended_at_us": one.ended_at,
        "elapsed_us": one.elapsed_us,
        "outcome": one.outcome,
        "error": _error(echoes, one.error),
    }


def _event(seq: int, event: Any, echoes: Echoes) -> dict[str, Any]:
    kind = f"late {event.kind}" if isinstance(event, TransitionRejected) else type(event).__name__
    return {"seq": seq, "at_us": event.at, "kind": kind, "text": cut(echoes.text(words(event)), _LINE)}


def _kin(newest: Newest, task: TaskState) -> dict[str, Any]:
    """Tasks that this one came from, waits for, or is waited for by.  Its children are a list of their own."""
    options = task.options or {}
    waited = options.get("waits_for") or ()
    behind = (other.id for queue in newest.state.queues.values() for other in queue.waits.on.get(task.id, {}).values())
    return {
        "parent": _one(newest, options["parent"]) if options.get("parent") else None,
        "root_task": _one(newest, options["root"]) if options.get("root") and options.get("root") != options.get("parent") else None,
        "waits_for": _some(newest, waited),
        "waits_for_count": len(waited),
        "waited_for_by": _some(newest, islice(behind, _KIN)),
        "may_have_children": task.attempt > 0,
    }


def _some(newest: Newest, ids: Iterable[bytes]) -> list[dict[str, Any]]:
    return list(_named(newest, islice(ids, _KIN)))


def _named(newest: Newest, ids: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for id in ids:
        yield _one(newest, id)


def _one(newest: Newest, id: bytes) -> dict[str, Any]:
    """A relative by id, with its state; None for one that is not there any more."""
    found = newest.task(id)
    return {"id": id_text(id), "state": None if found is None else observed(found.state, found.due_at, newest.now).value}


__all__ = ["EVENTS", "task_page"]

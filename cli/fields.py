"""Events as maps of names and values that may be shown: their fields, and the arguments or the result that belong to them.

Names are those of docs/FORMAT.md, instants and durations in microseconds as there.  What is hidden is hidden wherever it stands: in the
arguments and the result, in `meta`, and in what an event carries of others (the row in a TaskRetried, the arguments in the `spec` of a
schedule, the schedules in a JournalCompacted).

Problem of speed.  An export shows a hundred thousand events a second, and looking at each of fourteen fields for what it is takes longer
than all the rest.  Choice: what must be done with an event follows from its kind and the types of its fields, and there are few such
combinations, so it is found out once for each and kept; most come down to an id made readable.  Types and not declared fields, since
what was written may be another version's, and nothing may come out that was not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from journeyman.cli.screen import jsonable
from journeyman.journal.cbor import CodecError, decode_payload
from journeyman.journal.record import Ignored
from journeyman.journal.redaction import HIDDEN, Redaction
from journeyman.kernel.events import Event, StepRecorded, TaskSucceeded, ValuePut
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import SEPARATOR, shown_name
from journeyman.kernel.values import key_text

_PLAIN: Final = frozenset({int, str, float, bool, type(None)})
_IDS: Final = frozenset({"parent", "root"})
_KEPT: Final = 1_000  # combinations of types
_Change = Callable[[Any], Any]
_Plan = tuple[tuple[str, ...], list[tuple[int, _Change]]]  # the names, and what becomes of the values at some places


class Fields:
    """Events as one export shows them; for JSON, with nothing but what JSON can say."""

    def __init__(self, redaction: Redaction, *, for_json: bool) -> None:
        self._redaction, self._json = redaction, for_json
        self._plans: dict[tuple[type, ...], _Plan] = {}

    def of(self, seq: int, event: Event | Ignored, payload: bytes | None) -> dict[str, Any]:
        """seq, kind, the fields by name, and `arguments` or `result` where `payload` is given."""
        if isinstance(event, Ignored):  # nobody knows which of its fields are secret
            head = {"seq": seq, "kind": f"kind {event.tag}", "at": event.at}
            return head | {"queue": shown_name(event.queue), "qseq": event.qseq, "epoch": event.epoch}
        kind = type(event)
        signature = (kind, *map(type, event))
        names, changes = self._plans.get(signature) or self._plan(event, signature)
        values = [seq, kind.__name__, *event]
        for place, change in changes:
            values[place] = change(values[place])
        shown = dict(zip(names, values, strict=False))  # names may lack the last one
        if SEPARATOR in event.queue:
            shown["queue"] = shown_name(event.queue)
        if payload is not None:
            self._add_payload(shown, event, payload)
        return shown

    def _add_payload(self, shown: dict[str, Any], event: Event, payload: bytes) -> None:
        name: str
        found: Any
        if isinstance(event, TaskSucceeded | StepRecorded):
            secret = isinstance(event, StepRecorded) and self._redaction.hides_key(event.name)
            name, found = "result", HIDDEN if secret else result(payload, self._redaction)
        elif isinstance(event, ValuePut):  # the application's bytes: nobody can tell what is a secret in them
            name, found = "value", payload if self._redaction.reveal else f"{HIDDEN}: {len(payload)} bytes"
        else:
            name, found = "arguments", arguments(getattr(event, "handler", None), payload, self._redaction)
        shown[name] = jsonable(found) if self._json else found

    def _plan(self, event: Event, signature: tuple[type, ...]) -> _Plan:
        names = ["seq", "kind", *(_SHOWN_AS.get(name, name) for name in event._fields)]
        if names[-1] == "options" and event[-1] is None:
            names.pop()
        changes = [
            (place, change)
            for place, (name, kind) in enumerate(zip(event._fields, signature[1:], strict=True), 2)
            if (change := self._change(name, kind)) is not None
        ]
        if len(self._plans) >= _KEPT:
            self._plans.clear()
        plan = self._plans[signature] = (tuple(names), changes)
        return plan

    def _change(self, name: str, kind: type) -> _Change | None:
        """What becomes of a field of this name that holds a value of this type."""
        redaction = self._redaction
        if kind in _PLAIN:
            return jsonable if kind is float and self._json else None
        if name in ("task", "by_task") and kind is bytes:
            return id_text
        if name == "key" and kind is bytes:
            return key_text
        if not self._json:
            return lambda value: _inner(value, redaction)
        return bytes.hex if kind is bytes else lambda value: jsonable(_inner(value, redaction))


_SHOWN_AS: Final = {"kind": "rejected"}  # the `kind` of a TransitionRejected is not what kind of event that is


def arguments(handler: str | None, payload: bytes, redaction: Redaction) -> Any:
    """Decoded arguments as {"args": [...], "kwargs": {...}}; what cannot be read is described, and hidden."""
    try:
        args, kwargs = decode_payload(payload)
        shown, named = redaction.call(handler, list(args), kwargs)
    except (CodecError, TypeError, ValueError):
        return _unreadable(payload)
    return {"args": shown, "kwargs": named}


def result(payload: bytes, redaction: Redaction) -> Any:
    """A decoded result."""
    try:
        return redaction.value(decode_payload(payload))
    except CodecError:
        return _unreadable(payload)


def _unreadable(payload: bytes) -> str:
    return f"{HIDDEN}: {len(payload)} bytes that are not CBOR as this version writes it"


def _inner(value: Any, redaction: Redaction) -> Any:
    """A part of an event, with what must not be shown hidden and encoded arguments decoded."""
    if isinstance(value, Mapping):
        found: dict[Any, Any] = {}
        for name, item in value.items():
            if name == "payload" and isinstance(item, bytes):
                found[name] = arguments(value.get("handler"), item, redaction)
            elif name in _IDS and isinstance(item, bytes) and len(item) == 16:
                found[name] = id_text(item)
            elif redaction.hides_key(name):
                found[name] = HIDDEN
            else:
                found[name] = _inner(item, redaction)
        return found
    if isinstance(value, list | tuple):
        return [_inner(item, redaction) for item in value]
    return value


__all__ = ["Fields", "arguments", "result"]

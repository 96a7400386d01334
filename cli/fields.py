"""An event as a map of names and values that may be shown: its fields, and the arguments or the result that belong to it.

Names are those of docs/FORMAT.md, instants and durations in microseconds as there.  What is hidden is hidden wherever it stands: in the
arguments and the result, in `meta`, and in what an event carries of others (the row in a TaskRetried, the arguments in the `spec` of a
schedule, the schedules in a JournalCompacted).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from journeyman.cli.redaction import HIDDEN, Redaction
from journeyman.journal.cbor import CodecError, decode_payload
from journeyman.journal.record import Ignored
from journeyman.kernel.events import Event, TaskSucceeded
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import shown_name

_PLAIN = frozenset({int, str, float, bool, type(None)})
_IDS = frozenset({"parent", "root"})


def fields_of(event: Event | Ignored, payload: bytes | None, redaction: Redaction) -> dict[str, Any]:
    """kind, the fields by name, and `arguments` or `result` where `payload` is given."""
    shown: dict[str, Any] = {"kind": f"kind {event.tag}" if isinstance(event, Ignored) else type(event).__name__}
    if isinstance(event, Ignored):  # nobody knows which of its fields are secret
        return shown | {"at": event.at, "queue": shown_name(event.queue), "qseq": event.qseq, "epoch": event.epoch}
    for name, value in zip(event._fields, event, strict=True):
        if type(value) in _PLAIN:
            shown[name] = value
        elif name == "task" and isinstance(value, bytes):
            shown[name] = id_text(value)
        else:
            shown[name] = _inner(value, redaction)
    shown["queue"] = shown_name(event.queue)
    if shown.get("options", 0) is None:
        del shown["options"]
    if payload is not None:
        if isinstance(event, TaskSucceeded):
            shown["result"] = result(payload, redaction)
        else:
            shown["arguments"] = arguments(getattr(event, "handler", None), payload, redaction)
    return shown


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
            elif isinstance(name, str) and redaction.hides(name):
                found[name] = HIDDEN
            else:
                found[name] = _inner(item, redaction)
        return found
    if isinstance(value, list | tuple):
        return [_inner(item, redaction) for item in value]
    return value


__all__ = ["arguments", "fields_of", "result"]

"""JSON lines at speed, both ways: the only file of the journal that imports msgspec.

Problem.  Python's own encoder takes 6 us for an event of an export and as long to read it back, which is more than everything else about
it together.  msgspec encodes a page of maps in one call (0.4 us an event), writes bytes as base64 by itself, and when it reads, it skips
what import does not want and decodes base64 on its way.  Choice: msgspec, and Python's encoder for the rare page that it refuses (half of
a surrogate pair in a text).  Whatever is read is proved by the hash over the bytes, not by how a reader takes them.

Rejected: templates of text, a kind each (as fast, and every escape would be ours); a process for each half of the journal.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from journeyman.journal.parcel import Item, cut_short

Map = Mapping[str, Any]
_TEXT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=lambda data: b64encode(data).decode())
_FAST: Final = msgspec.json.Encoder()


class _Line(msgspec.Struct, gc=False):
    """What import wants of an event's line."""

    seq: int
    record: bytes
    data: bytes | None = None


_LINES: Final = msgspec.json.Decoder(_Line)


def line_of(value: Map) -> bytes:
    """One line.  Bytes become base64."""
    return _TEXT.encode(value).encode("utf-8", "surrogatepass") + b"\n"


def lines_of(values: Sequence[Map]) -> bytes:
    """Many."""
    try:
        return _FAST.encode_lines(values)
    except UnicodeEncodeError:
        return b"".join(map(line_of, values))


def text_of(value: Any) -> bytes:
    """The same without the end of the line."""
    try:
        return _FAST.encode(value)
    except UnicodeEncodeError:
        return _TEXT.encode(value).encode("utf-8", "replace")


def items_in(lines: bytes) -> list[Item]:
    """The items in the lines of a complete export.  JournalCorrupt."""
    try:
        return [Item(line.seq, line.record, line.data) for line in _LINES.decode_lines(lines)]
    except (msgspec.DecodeError, ValueError, RecursionError) as failure:
        raise cut_short("a line of it holds something else") from failure


def map_in(line: bytes) -> Any:
    """What a single line says.  JournalCorrupt."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as failure:
        raise cut_short("a part of it cannot be read") from failure


__all__ = ["items_in", "line_of", "lines_of", "map_in", "text_of"]

"""The two formats of an export that are streams: JSON lines for people and programs, CBOR for speed.  Parquet is in journal/parquet.py,
how a line is written and read in journal/jsonlines.py.

jsonl   One JSON object a line: the header, then a line for each event with its fields by name and, in a complete file, `record` (the raw
        record) and `data` (the raw arguments or result) in base64, then the end.  Import reads `seq`, `record` and `data`; the rest is
        for people and their tools, but is covered by the hash of the end like everything else.
cbor    A CBOR sequence (RFC 8742): the tag 55799, then byte strings, each holding one CBOR item: the header, then arrays of many
        [seq, record, payload or null] (in a file that is not complete: arrays of maps), then the end.

The end is {"end": true, "events": n, "payloads": n, "digest": hex of BLAKE2b-16 over all bytes before it}.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import Any, BinaryIO, Final, Protocol

from journeyman.journal.cbor import CodecError, decode, encode, encode_payload
from journeyman.journal.digest import begin
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.jsonlines import items_in, line_of, lines_of, map_in
from journeyman.journal.parcel import Header, Item, cut_short

CBOR_MAGIC: Final = b"\xd9\xd9\xf7"
_LONGEST: Final = 1 << 30  # bytes of a line or of a byte string: far more than any payload's
_RECORDS: Final = 1_000  # of a page that was read, at most
_BYTES: Final = 4 << 20
_BLOCK: Final = 1 << 19  # of jsonl, read at a time, and on to the end of a line
Shown = Sequence[dict[str, Any]]


class Writer(Protocol):
    """Writes one file.  `shown` of a page: its events as maps, without what is hidden; None where only raw bytes are wanted.  The maps are
    the writer's to change."""

    def page(self, items: Sequence[Item], shown: Shown | None) -> None: ...

    def end(self) -> None: ...


class _Sealed:
    """Bytes on their way to a file, counted and hashed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._running = begin()
        self.events = self.payloads = 0

    def write(self, data: bytes) -> None:
        self._running.update(data)
        self._file.write(data)

    def count(self, items: Sequence[Item]) -> None:
        self.events += len(items)
        self.payloads += _payloads(items)

    def ending(self) -> dict[str, Any]:
        return {"end": True, "events": self.events, "payloads": self.payloads, "digest": self._running.hexdigest()}


class JsonLines:
    """Writes jsonl."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._out = _Sealed(file)
        self._raw = header.complete
        self._out.write(line_of(header.facts()))

    def page(self, items: Sequence[Item], shown: Shown | None) -> None:
        assert shown is not None
        if self._raw:
            for item, line in zip(items, shown, strict=True):
                line["record"] = item.value
                if item.payload is not None:
                    line["data"] = item.payload
        self._out.write(lines_of(shown))
        self._out.count(items)

    def end(self) -> None:
        self._out.write(line_of(self._out.ending()))


class CborSequence:
    """Writes cbor."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._out = _Sealed(file)
        self._raw = header.complete
        self._out.write(CBOR_MAGIC + _framed(encode(header.facts())))

    def page(self, items: Sequence[Item], shown: Shown | None) -> None:
        if self._raw:
            self._out.write(_framed(encode(list(map(list, items)))))
        else:
            assert shown is not None
            self._out.write(_framed(encode_payload(list(shown))))
        self._out.count(items)

    def end(self) -> None:
        self._out.write(_framed(encode(self._out.ending())))


def _framed(data: bytes) -> bytes:
    """In a byte string."""
    return encode(data)


# --- reading: only what is complete ----------------------------------------------------------------------------------------


class Reader:
    """Reads a complete file: `header` first, then `pages` to their end, which checks that nothing is missing or changed."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._running = begin()
        self._cbor = file.peek(len(CBOR_MAGIC))[: len(CBOR_MAGIC)] == CBOR_MAGIC
        if self._cbor:
            self._running.update(file.read(len(CBOR_MAGIC)))
        self.header = Header.of(self._header())

    def pages(self) -> Iterator[list[Item]]:
        """All items.  JournalCorrupt."""
        events = payloads = 0
        end: Any = None
        for page, found in self._arrays() if self._cbor else self._lines():
            yield page
            events, payloads, end = events + len(page), payloads + _payloads(page), found
        if end != {"end": True, "events": events, "payloads": payloads, "digest": self._running.hexdigest()} or self._file.read(1):
            raise cut_short("it is not what was written")

    def _lines(self) -> Iterator[tuple[list[Item], Any]]:
        """Items, and the end where it follows on them: the file's last line."""
        while data := self._file.read(_BLOCK):
            if not data.endswith(b"\n"):
                data += self._file.readline(_LONGEST)
            if not data.endswith(b"\n"):
                raise cut_short()
            last = len(data) if self._file.peek(1) else data.rfind(b"\n", 0, len(data) - 1) + 1
            lines = data[:last]
            self._running.update(lines)
            yield items_in(lines), map_in(data[last:]) if last < len(data) else None

    def _arrays(self) -> Iterator[tuple[list[Item], Any]]:
        """Items, and the end where it follows on them."""
        weight, page, end = 0, list[Item](), None
        while end is None:
            found, data = self._next()
            if isinstance(found, dict) and found.get("end") is True:
                end = found
            else:
                self._running.update(data)
                page += _items(found)
                weight += len(data)
            if end is not None or len(page) >= _RECORDS or weight >= _BYTES:
                yield page, end
                weight, page = 0, []

    def _header(self) -> Any:
        """What the first line or byte string says; None for a file that is none of ours."""
        try:
            found, data = self._next()
        except JournalCorrupt:
            return None
        self._running.update(data)
        return found

    def _next(self) -> tuple[Any, bytes]:
        """The next line or byte string, decoded, and its bytes."""
        data = _frame(self._file) if self._cbor else self._file.readline(_LONGEST)
        if not self._cbor:
            return map_in(data), data
        try:
            return decode(_inside(data)), data
        except (CodecError, ValueError, RecursionError) as failure:
            raise cut_short("a part of it cannot be read") from failure


def _payloads(items: Sequence[Item]) -> int:
    return sum(item.payload is not None for item in items)


def _items(found: Any) -> list[Item]:
    """The items of an array of cbor."""
    try:
        items = [Item(*row) for row in found]
        if all(type(item.seq) is int and type(item.value) is bytes and isinstance(item.payload, bytes | None) for item in items):
            return items
    except (TypeError, ValueError) as failure:
        raise cut_short("an array of it holds something else") from failure
    raise cut_short("an array of it holds something else")


_HEADS: Final = {0x58: 1, 0x59: 2, 0x5A: 4, 0x5B: 8}  # first byte of a byte string -> bytes of its length


def _frame(file: BinaryIO) -> bytes:
    """One byte string, with its head."""
    head = file.read(1)
    if not head:
        raise cut_short()
    if 0x40 <= head[0] <= 0x57:
        size = head[0] - 0x40
    elif head[0] in _HEADS:
        length = file.read(_HEADS[head[0]])
        if len(length) != _HEADS[head[0]]:
            raise cut_short()
        head, size = head + length, int.from_bytes(length, "big")
    else:
        raise cut_short("there is something between its parts")
    if size > _LONGEST:
        raise cut_short("a part of it is too large")
    data = file.read(size)
    if len(data) != size:
        raise cut_short()
    return head + data


def _inside(frame: bytes) -> bytes:
    """The contents of a byte string."""
    return frame[1 + _HEADS.get(frame[0], 0) :]


__all__ = ["CborSequence", "JsonLines", "Reader", "Shown", "Writer"]

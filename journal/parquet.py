"""An export as a Parquet file: a row for each event, for the tools of analysts.  The only file that imports pyarrow.

Columns: seq, kind, at (an instant), queue, qseq, epoch, task, handler, attempt, and as JSON `fields` (all others) and `payload` (the
arguments or the result, decoded).  A complete file also has `record` and `data`, the raw bytes, so that it can be imported; its header
and its end (journal/wire.py; here the hash is over seqs, records and payloads) are in the file's metadata.

pyarrow is large and needed by few, so it is an extra of its own, and loaded when asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, Protocol

from journeyman.journal.digest import begin
from journeyman.journal.errors import JournalError
from journeyman.journal.jsonlines import text_of
from journeyman.journal.parcel import Header, Item, cut_short
from journeyman.journal.wire import Reader, Shown

PARQUET_MAGIC: Final = b"PAR1"
_HEADER: Final = b"journeyman"
_END: Final = b"journeyman_end"
_GROUP: Final = 20_000  # rows of a row group
_GROUP_BYTES: Final = 64 << 20
_OF_ALL: Final = ("seq", "kind", "at", "queue", "qseq", "epoch")  # columns of their own
_OF_SOME: Final = ("task", "handler", "attempt")
_REPEATED: Final = ["kind", "at", "queue", "epoch", "handler", "attempt", "payload"]  # worth a dictionary
_PAYLOADS: Final = ("arguments", "result")


class Parcel(Protocol):
    """A complete export, open for reading."""

    header: Header

    def pages(self) -> Iterator[list[Item]]: ...


@contextmanager
def open_parcel(file: str | os.PathLike[str]) -> Iterator[Parcel]:
    """A file of any format that is to be imported.  NotImportable, JournalCorrupt, JournalVersion."""
    with open(file, "rb") as source:
        if source.peek(4)[:4] == PARQUET_MAGIC:
            yield ParquetReader(source)
        else:
            yield Reader(source)


def pyarrow() -> Any:
    """The library, with its part for Parquet.  JournalError says what to install."""
    try:
        import pyarrow as library
        import pyarrow.parquet
    except ModuleNotFoundError as failure:
        raise JournalError("Parquet needs a library that is not installed here: pip install 'journeyman[parquet]'") from failure
    return library


class _Count:
    """The end of the file in the making: over the raw items, whatever the file's pages look like."""

    def __init__(self) -> None:
        self.events = self.payloads = 0
        self._running = begin()

    def add(self, items: Sequence[Item]) -> None:
        parts: list[bytes] = []
        for seq, value, payload in items:
            if payload is None:
                parts += (b"%d %d -1 " % (seq, len(value)), value)
            else:
                parts += (b"%d %d %d " % (seq, len(value), len(payload)), value, payload)
                self.payloads += 1
        self._running.update(b"".join(parts))
        self.events += len(items)

    def ending(self) -> dict[str, Any]:
        return {"end": True, "events": self.events, "payloads": self.payloads, "digest": self._running.hexdigest()}


class ParquetWriter:
    """Writes parquet."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._pa = pa = pyarrow()
        self._raw = header.complete
        self._count = _Count()
        self._rows = self._weight = 0
        text, number = pa.string(), pa.int64()
        columns = [
            ("seq", number), ("kind", text), ("at", pa.timestamp("us", tz="UTC")), ("queue", text), ("qseq", number), ("epoch", number),
            ("task", text), ("handler", text), ("attempt", number), ("fields", text), ("payload", text),
        ]  # fmt: skip
        if self._raw:
            columns += [("record", pa.binary()), ("data", pa.binary())]
        self._schema = pa.schema(columns, metadata={_HEADER: json.dumps(header.facts()).encode()})
        self._writer = pa.parquet.ParquetWriter(file, self._schema, compression="zstd", use_dictionary=_REPEATED)
        self._batches: list[Any] = []

    def page(self, items: Sequence[Item], shown: Shown | None) -> None:
        assert shown is not None
        columns: dict[str, Any] = {name: [fields.pop(name) for fields in shown] for name in _OF_ALL}
        columns |= {name: [fields.pop(name, None) for fields in shown] for name in _OF_SOME}
        columns["payload"] = [_payload(fields) for fields in shown]
        columns["fields"] = list(map(text_of, shown))
        if self._raw:
            columns["record"] = [item.value for item in items]
            columns["data"] = [item.payload for item in items]
            self._count.add(items)
        else:
            self._count.events += len(items)
        arrays = [self._pa.array(columns[field.name], type=field.type) for field in self._schema]
        self._batches.append(self._pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows += len(items)
        self._weight += self._batches[-1].nbytes
        if self._rows >= _GROUP or self._weight >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(self._pa.Table.from_batches(self._batches))
        self._batches, self._rows, self._weight = [], 0, 0

    def end(self) -> None:
        self._flush()
        self._writer.add_key_value_metadata({_END: json.dumps(self._count.ending()).encode()})
        self._writer.close()


class ParquetReader:
    """Reads a complete file."""

    def __init__(self, file: BinaryIO) -> None:
        self._pa = pa = pyarrow()
        try:
            self._file = pa.parquet.ParquetFile(file)
        except (pa.ArrowException, OSError) as failure:
            raise cut_short(f"Parquet says: {_first_line(failure)}") from failure
        metadata = self._file.metadata.metadata or {}
        self.header = Header.of(json.loads(metadata[_HEADER]) if _HEADER in metadata else None)
        self._end = json.loads(metadata[_END]) if _END in metadata else None

    def pages(self) -> Iterator[list[Item]]:
        """All items.  JournalCorrupt."""
        count = _Count()
        try:
            for batch in self._file.iter_batches(batch_size=1_000, columns=["seq", "record", "data"]):
                columns = (batch.column(n).to_pylist() for n in range(3))
                items = [Item(*row) for row in zip(*columns, strict=True)]
                count.add(items)
                yield items
        except (self._pa.ArrowException, OSError, ValueError, TypeError) as failure:
            raise cut_short(f"Parquet says: {_first_line(failure)}") from failure
        if count.ending() != self._end:
            raise cut_short("it is not what was written")


def _payload(fields: dict[str, Any]) -> bytes | None:
    """The arguments or the result as JSON, taken out of the rest."""
    for name in _PAYLOADS:
        if name in fields:
            return text_of(fields.pop(name))
    return None


def _first_line(failure: BaseException) -> str:
    return str(failure).partition("\n")[0]


__all__ = ["Parcel", "ParquetReader", "ParquetWriter", "open_parcel"]

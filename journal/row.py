"""The bytes of what a checkpoint writes: rows of tasks, index keys, small named records.

    row     offset 0, 1 byte: format, now 1; 1, 8 bytes: the seq as of which the row holds; 9, 4 bytes: crc32 of key, bytes 0..8 and body;
    13: body body    canonical CBOR of TaskState.row()
    META    4 bytes crc32 of key and body; then canonical CBOR
    keys    LIVE       seq 8                                     BY_STATE   queue ordinal 4, state 1, seq 8   -> id
            TASKS      id 16                                     BY_EXPIRY  expires_at 8, seq 8               -> id 16, queue ordinal 4,
            state 1

Numbers are big-endian.  States at rest in keys: 1 succeeded, 2 failed, 3 cancelled, 4 interrupted.  The digest of a set of rows is the sum,
modulo 2**128, of B(body), so it can be kept up to date row by row, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, Final, NamedTuple
from zlib import crc32

from journeyman.journal.cbor import CodecError, decode, decode_many, encode, encode_flat
from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt, JournalVersion
from journeyman.journal.hot_row import quick_row
from journeyman.journal.store import Items, Table
from journeyman.kernel.lifecycle import State
from journeyman.kernel.taskstate import TaskState

ROW_FORMAT: Final = 1
STATE_CODE: Final = {State.SUCCEEDED: 1, State.FAILED: 2, State.CANCELLED: 3, State.INTERRUPTED: 4}
STATE_OF_CODE: Final = {code: state for state, code in STATE_CODE.items()}
CODE_OF_VALUE: Final = {str(state): code for state, code in STATE_CODE.items()}  # hashing a str is much cheaper than hashing an enum
_ROW_HEADER: Final = Struct(">BQI")
_HEADER_SIZE: Final = 13
_STAMP: Final = Struct(">BQ")
STATE_KEY: Final = Struct(">IBQ")
_MODULUS: Final = 1 << 128


def encode_body(task: TaskState) -> bytes:
    quick = quick_row(task)
    if quick is not None:
        return quick
    return encode_flat(task.row()) if task.options is None else encode(task.row())


def stamp_row(key: bytes, body: bytes, as_of: int) -> tuple[bytes, bytes, int]:
    """Key, value and digest of the row with this body, as of that seq."""
    stamp = _STAMP.pack(ROW_FORMAT, as_of)
    value = stamp + crc32(body, crc32(key + stamp)).to_bytes(4, "big") + body
    return key, value, digest_body(body)


def digest_body(body: bytes) -> int:
    return int.from_bytes(digest(body), "big")


def digest_value(value: bytes) -> int:
    """The digest of a stored row, or 0 when there is none."""
    return int.from_bytes(digest(value[_HEADER_SIZE:]), "big") if value else 0


def digest_stored(table: Table, key: bytes, value: bytes) -> int:
    """The digest of a row as it was just read, to be taken out of the sum that is kept.  JournalCorrupt when its crc does not match: a
    misread must not become a sum that is wrong for ever.
    """
    if len(value) < _HEADER_SIZE or crc32(value[_HEADER_SIZE:], crc32(key + value[:9])) != _ROW_HEADER.unpack_from(value)[2]:
        raise _damaged(table, key)
    return digest_value(value)


def add_digest(total: int, change: int) -> int:
    return (total + change) % _MODULUS


def decode_rows(table: Table, pairs: Items) -> list[tuple[TaskState, int]]:
    """Checked rows as (task, the seq as of which it holds)."""
    try:
        return [(TaskState.from_row(row), as_of) for row, as_of in decode_columns(table, pairs)]
    except (ValueError, KeyError, TypeError) as failure:
        raise JournalCorrupt(f"a row in table {table.name} cannot be read: {failure}") from failure


def decode_columns(table: Table, pairs: Items) -> list[tuple[list[Any], int]]:
    """The same as lists in the order of `ROW`, for whoever wants few facts of many."""
    stamps: list[int] = []
    bodies: list[bytes] = []
    unpack = _ROW_HEADER.unpack_from
    for key, value in pairs:
        if len(value) < _HEADER_SIZE:
            raise _damaged(table, key)
        version, as_of, crc = unpack(value)
        body = value[_HEADER_SIZE:]
        if crc32(body, crc32(key + value[:9])) != crc:
            raise _damaged(table, key)
        if version != ROW_FORMAT:
            raise JournalVersion(
                f"a row in table {table.name} has format version {version}; this Journeyman reads version {ROW_FORMAT}: upgrade it"
            )
        stamps.append(as_of)
        bodies.append(body)
    try:
        return list(zip(decode_many(bodies), stamps, strict=True))
    except CodecError as failure:
        raise JournalCorrupt(f"a row in table {table.name} cannot be read: {failure}") from failure


def _damaged(table: Table, key: bytes) -> JournalCorrupt:
    return JournalCorrupt(
        f"the row {key.hex()} in table {table.name} is damaged: its crc does not match.  Keep a copy and restore a backup"
    )


# --- where an ended task stands on disk -------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where the ended-task tables hold a task: enough to take it out again."""

    id: bytes
    seq: int
    ordinal: int  # of its queue
    code: int  # of its state
    expires_at: int | None

    @property
    def state_key(self) -> bytes:
        return state_key(self.ordinal, self.code, self.seq)

    @property
    def expiry_key(self) -> bytes | None:
        return None if self.expires_at is None else expiry_key(self.expires_at, self.seq)

    @property
    def expiry_value(self) -> bytes:
        return self.id + self.ordinal.to_bytes(4, "big") + bytes((self.code,))


def state_key(ordinal: int, code: int, seq: int) -> bytes:
    return STATE_KEY.pack(ordinal, code, seq)


def expiry_key(expires_at: int, seq: int) -> bytes:
    return max(expires_at, 0).to_bytes(8, "big") + seq.to_bytes(8, "big")


# --- small named records ----------------------------------------------------------------------------------------------------


def encode_named(key: bytes, value: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """A META pair."""
    body = encode(value)
    return key, crc32(body, crc32(key)).to_bytes(4, "big") + body


def decode_named(key: bytes, data: bytes | None) -> dict[str, Any] | None:
    """The value of a META record, None when there is none."""
    if data is None:
        return None
    body = data[4:]
    if len(data) < 5 or crc32(body, crc32(key)) != int.from_bytes(data[:4], "big"):
        raise JournalCorrupt(f"the record {key!r} in table META is damaged: its crc does not match.  Keep a copy and restore a backup")
    try:
        value = decode(body)
    except CodecError as failure:
        raise JournalCorrupt(f"the record {key!r} in table META cannot be read: {failure}") from failure
    if not isinstance(value, dict):
        raise JournalCorrupt(f"the record {key!r} in table META is not a map")
    return value

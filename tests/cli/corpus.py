"""Damaged journals: one sound journal, and everything that may have happened to its files."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import lmdb

from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.pages import PageFile
from journeyman.journal.store import Batch, Table
from tests.journal.driver import commit

PAGE = 4096
BRANCH, LEAF = 1, 2
Change = Callable[[Path], None]


def cut(share: float = 0.0, *, size: int | None = None, less: int = 0) -> Change:
    def change(home: Path) -> None:
        data = home / "data.mdb"
        whole = data.stat().st_size
        os.truncate(data, size if size is not None else int(whole * share) - less)

    return change


def pages(home: Path, kind: int) -> list[int]:
    """Numbers of the pages of a kind in table EVENTS, the fullest first."""
    data = (home / "data.mdb").read_bytes()
    found = []
    with PageFile(str(home / "data.mdb")) as file:
        assert list(file.table(Table.EVENTS))
        for number in filter(file.met, range(2, len(data) // PAGE)):
            _, _, flags, lower, _ = struct.unpack_from("=QHHHH", data, number * PAGE)
            if flags == kind:
                found.append((-lower, number))
    return [number for _, number in sorted(found)]


def overwrite(at: int, new: bytes) -> Change:
    def change(home: Path) -> None:
        with open(home / "data.mdb", "r+b") as file:
            file.seek(at)
            file.write(new)

    return change


def every_page(kind: int, at: int, new: bytes) -> Change:
    """The same bytes into every page of a kind."""

    def change(home: Path) -> None:
        found = pages(home, kind)
        assert found, f"no page of kind {kind}"
        for number in found:
            overwrite(number * PAGE + at, new)(home)

    return change


def fullest_leaf(at: int, new: bytes) -> Change:
    return lambda home: overwrite(pages(home, LEAF)[0] * PAGE + at, new)(home)


def a_signpost(home: Path) -> None:
    """The second key of the fullest branch page becomes the one before it, which lies to the left of it."""
    page = pages(home, BRANCH)[0] * PAGE
    data = (home / "data.mdb").read_bytes()
    node = page + struct.unpack_from("=H", data, page + 18)[0]
    length = struct.unpack_from("=H", data, node + 6)[0]
    key = int.from_bytes(data[node + 8 : node + 8 + length], "big")
    overwrite(node + 8, (key - 1).to_bytes(length, "big"))(home)


def one_bit(table: Table, place: int, at: int) -> Change:
    """A bit of byte `at` (from the end, if negative) of the value of the `place`th key."""

    def change(home: Path) -> None:
        rewrite(home, table, place, lambda key, value: flipped(value, at))

    return change


def flipped(value: bytes, at: int) -> bytes:
    draft = bytearray(value)
    draft[at] ^= 0x10
    return bytes(draft)


def rewrite(home: Path, table: Table, place: int, new: Callable[[bytes, bytes], bytes | None]) -> None:
    """Put another value in place of one that is there; None takes the key away."""
    store = LmdbStore(str(home))
    try:
        key, value = store.scan(table, limit=place + 1)[place]
        batch, made = Batch(), new(key, value)
        if made is None:
            batch.delete(table, [key])
        else:
            batch.put(table, [(key, made)])
        commit(store, batch)
    finally:
        store.close()


def rewritten(table: Table, place: int, new: Callable[[bytes, bytes], bytes | None]) -> Change:
    return lambda home: rewrite(home, table, place, new)


def put(table: Table, key: bytes, value: bytes) -> Change:
    def change(home: Path) -> None:
        store = LmdbStore(str(home))
        try:
            batch = Batch()
            batch.put(table, [(key, value)])
            commit(store, batch)
        finally:
            store.close()

    return change


def a_text(home: Path) -> None:
    (home / "data.mdb").write_text("hello\n" * 5_000)


def newer_version(key: bytes, value: bytes) -> bytes:
    """A record of a version that is not there yet, whole in itself."""
    head, body = bytes([2]) + value[1:4], value[8:]
    return head + crc32(body, crc32(key + head)).to_bytes(4, "big") + body


def another_record(key: bytes, value: bytes) -> bytes:
    """A record that somebody has altered who knows how, in a number in its last array of bytes: its crc is right, and the chain is not."""
    body = bytearray(value[8:])
    body[-4] ^= 1
    return value[:4] + crc32(bytes(body), crc32(key + value[:4])).to_bytes(4, "big") + bytes(body)


def of_another_program(home: Path) -> None:
    for file in home.iterdir():
        file.unlink()
    with lmdb.open(str(home), lib_version=0) as env, env.begin(write=True) as txn:
        txn.put(b"name", b"value")


def keep_only(*names: str) -> Change:
    def change(home: Path) -> None:
        for file in home.iterdir():
            if file.name not in names:
                file.unlink()

    return change


def metas(at: int, new: bytes) -> Change:
    def change(home: Path) -> None:
        overwrite(at, new)(home)
        overwrite(PAGE + at, new)(home)

    return change


COMMANDS = ("stats", "verify", "repair")
OTHERS = ("queues", "replay", "verify-code")

# name -> the change, and the exit codes of COMMANDS; several where it depends on what the page held, and on whether an old
# copy of it still lies in the file.
CASES: dict[str, tuple[Change, set[int], set[int], set[int]]] = {
    "no directory": (shutil.rmtree, {5}, {5}, {5}),
    "an empty directory": (keep_only(), {5}, {5}, {5}),
    "data missing": (keep_only("identity", "owner.lock"), {3}, {3}, {3}),
    "data empty": (cut(size=0), {3}, {3}, {3}),
    "another program's database": (of_another_program, {5}, {5}, {5}),
    "a text": (a_text, {3}, {3}, {3}),
    "cut within the first meta page": (cut(size=100), {3}, {3}, {3}),
    "cut behind the meta pages": (cut(size=2 * PAGE), {3}, {3}, {3}),
    "half a map": (cut(0.5), {3}, {1, 3}, {1}),
    "most of a map": (cut(0.9), {0, 3}, {0, 1, 3}, {0, 1}),
    "magic of both meta pages": (metas(16, b"\0\0\0\0"), {3}, {3}, {1}),
    "LMDB's version in both meta pages": (metas(20, b"\x07"), {3, 4}, {4}, {1}),
    "roots in both meta pages": (metas(128, b"\xff\xff\0\0\0\0\0\0"), {3}, {3}, {1}),
    "every branch page": (every_page(BRANCH, 16, b"\xff\xff"), {3}, {1}, {1}),
    "kinds of all branch pages": (every_page(BRANCH, 10, b"\x04\0"), {3}, {1}, {1}),
    "a key of a branch page": (a_signpost, {0, 3}, {1}, {0}),
    "a leaf zeroed": (fullest_leaf(0, bytes(PAGE)), {3}, {1}, {0, 1}),
    "nodes of a leaf": (fullest_leaf(16, b"\xfe\xff\xfd\xff"), {3}, {1}, {0, 1}),
    "a record's header": (one_bit(Table.EVENTS, 40, 1), {3}, {1}, {0}),
    "a record's body": (one_bit(Table.EVENTS, 41, -9), {3}, {1}, {0}),
    "a record cut short": (rewritten(Table.EVENTS, 42, lambda key, value: value[:20]), {3}, {1}, {1}),
    "a record missing": (rewritten(Table.EVENTS, 43, lambda key, value: None), {0}, {1}, {1}),
    "a record of a newer version": (rewritten(Table.EVENTS, 44, newer_version), {4}, {4}, {4}),
    "a payload": (one_bit(Table.PAYLOADS, 5, 3), {0}, {1}, {0}),
    "a payload behind the last record": (put(Table.PAYLOADS, (1 << 40).to_bytes(8, "big"), b"x"), {0}, {1}, {0}),
    "a payload missing": (rewritten(Table.PAYLOADS, 0, lambda key, value: None), {0}, {1}, {1}),
    "the checkpoint's facts": (one_bit(Table.META, 0, 9), {3}, {1}, {0}),
    "a row": (one_bit(Table.TASKS, 3, 30), {3}, {1}, {0}),
    "a row missing": (rewritten(Table.TASKS, 4, lambda key, value: None), {3}, {1}, {0}),
    "an index entry": (one_bit(Table.BY_STATE, 2, 4), {3}, {1}, {0}),
}

# The same of OTHERS, for those where they might answer otherwise.
MORE: dict[str, tuple[set[int], set[int], set[int]]] = {
    "an empty directory": ({5}, {5}, {5}),
    "half a map": ({3}, {3}, {3}),
    "a record's body": ({3}, {3}, {3}),
    "a record of a newer version": ({4}, {4}, {4}),
    "a row": ({3}, {0}, {1}),
}

"""LMDB's file read without LMDB, page by page, so that nothing in it can kill the reader.

Problem.  LMDB maps its file and trusts it: beyond a cut, or behind a damaged page, it ends the process or sees nothing of what lies there.
What is to be saved lies just there.  Choice: pages are read with `pread` and every number in them is checked before it is followed.  A
table is walked from its root; a page that is not what it should be is noted with the range of keys that is lost with it, and the walk
goes on behind it.  What the tree no longer leads to may still lie in the file: `strays` gives the leaves that no walk has met, to be
believed only where their content proves itself (a record by its crc, a payload by its digest).  Strays may be old: pages that were freed
keep what they held.

The format is LMDB 0.9's on a 64-bit machine in its own byte order, as docs/FORMAT.md says:

    page   0 number 8; 8 pad 2; 10 flags 2 (1 branch, 2 leaf, 4 overflow, 8 meta); 12 lower 2, 14 upper 2 (overflow: 12 pages 4); then the
           offsets of its nodes, 2 bytes each, up to `lower`
    node   lo 2, hi 2, flags 2, length of the key 2, key, data; in a branch the 48 bits lo, hi, flags are the child's number
           in a leaf lo + hi << 16 is the length of the data; flags 1: the data is on overflow pages, whose number is here; 2: a table
    table  pad 4, flags 2, depth 2, branch 8, leaf 8, overflow 8, entries 8, root 8
    meta   at 16: magic 4, version 4, address 8, map size 8, table of free pages (its pad: the page size), main table, last page 8,
           transaction 8.  Pages 0 and 1 are meta pages; the one with the younger transaction counts.

Rejected: LMDB in a child that is started anew behind each death (a root that is gone leaves nothing to start behind); an offline check
of structure (it says that a tree is broken, and reads nothing out of it).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import Struct
from types import TracebackType
from typing import Final, NamedTuple, Self

from journeyman.journal.plain import open_to_read
from journeyman.journal.store import Items, Table

_PAGE: Final = Struct("=QHHHH")
_NODE: Final = Struct("=HHHH")
_TREE: Final = Struct("=IHHQQQQQ")
_META: Final = Struct("=IIQQ")
_U16: Final = Struct("=H")
_U32: Final = Struct("=I")
_U64: Final = Struct("=Q")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_MAGIC: Final = 0xBEEFC0DE
_HEADER: Final = 16
_NO_PAGE: Final = (1 << 64) - 1
_DEPTH: Final = 32
_LARGEST: Final = 1 << 31  # bytes of a value


class Loss(NamedTuple):
    """A page that cannot be read, and the keys that are lost with it: from `low`, below `high` (None: no bound)."""

    page: int
    why: str
    low: bytes
    high: bytes | None


class BadPage(ValueError):
    """A page that is not what it should be."""


class PageFile:
    """One data.mdb, for reading.  A context manager."""

    def __init__(self, path: str) -> None:
        self._fd = open_to_read(path)
        self.size = os.fstat(self._fd).st_size
        self.page_size = 4096
        self.losses: dict[str, list[Loss]] = {}  # by table
        self._roots: dict[str, int] | None = None
        metas = sorted((meta for meta in (self._meta(0), self._meta(self.page_size)) if meta is not None), reverse=True)
        self._mains = [root for _, root in metas]
        self.is_lmdb = bool(metas)
        self.pages = self.size // self.page_size
        self._met = bytearray(self.pages // 8 + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        os.close(self._fd)

    def _meta(self, at: int) -> tuple[int, int] | None:
        """(transaction, root of the main table)."""
        data = self._read(152, at)
        if len(data) < 152 or _META.unpack_from(data, 16)[:2] != (_MAGIC, 1):
            return None
        page_size = _U32.unpack_from(data, 40)[0]
        if page_size in (4096, 8192, 16384, 32768, 65536) and at == 0:
            self.page_size = page_size
        return _U64.unpack_from(data, 144)[0], _TREE.unpack_from(data, 88)[7]

    def _read(self, size: int, at: int) -> bytes:
        """Nothing where the disk does not give it back: lost like a page that is cut short."""
        try:
            return os.pread(self._fd, size, at)
        except OSError:
            return b""

    # --- pages ------------------------------------------------------------------------------------------------------------

    def _page(self, number: int, flags: int) -> bytes:
        if not 2 <= number < self.pages:
            raise BadPage("lies beyond the end of the file")
        data = self._read(self.page_size, number * self.page_size)
        if len(data) < self.page_size:
            raise BadPage("is cut short")
        own, _, found, lower, upper = _PAGE.unpack_from(data)
        if own != number:
            raise BadPage(f"says that it is page {own}")
        if not found & flags:
            raise BadPage(f"is of another kind ({found:#x})")
        if found & (_BRANCH | _LEAF) and not _HEADER <= lower <= upper <= self.page_size:
            raise BadPage("has impossible bounds")
        return data

    def _nodes(self, data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
        """(lo, hi, flags, offset of the data, key)."""
        for at in range(_HEADER, _U16.unpack_from(data, 12)[0] - 1, 2):
            offset = _U16.unpack_from(data, at)[0]
            if not _HEADER <= offset <= self.page_size - 8:
                raise BadPage("has a node outside of itself")
            lo, hi, flags, length = _NODE.unpack_from(data, offset)
            if offset + 8 + length > self.page_size:
                raise BadPage("has a key that leaves the page")
            yield lo, hi, flags, offset + 8 + length, data[offset + 8 : offset + 8 + length]

    def _value(self, data: bytes, lo: int, hi: int, flags: int, at: int) -> bytes:
        size = lo | hi << 16
        if not flags & 1:
            if at + size > self.page_size:
                raise BadPage("has a value that leaves the page")
            return data[at : at + size]
        if at + 8 > self.page_size or size > min(_LARGEST, self.size):
            raise BadPage("has an impossible large value")
        number = _U64.unpack_from(data, at)[0]
        first = self._page(number, _OVERFLOW)
        if _U32.unpack_from(first, 12)[0] * self.page_size < size + _HEADER:
            raise BadPage("leads to overflow pages that are too few")
        found = self._read(size, number * self.page_size + _HEADER)
        if len(found) != size:
            raise BadPage("leads to overflow pages beyond the end of the file")
        return found

    # --- tables -----------------------------------------------------------------------------------------------------------

    def table(self, table: Table) -> Iterator[Items]:
        """What can be read of a table, a leaf at a time, keys ascending; `losses` says what cannot."""
        name = table.name.lower()
        losses = self.losses.setdefault(name, [])
        root = self._root(name)
        if root is None:
            losses.append(Loss(0, "the table itself is not to be found", b"", None))
        elif root != _NO_PAGE:
            yield from self._walk(root, b"", None, 0, losses)

    def whole(self, table: Table) -> bool:
        """Whether nothing of a table, which was walked, is lost."""
        return not self.losses.get(table.name.lower())

    def _root(self, name: str) -> int | None:
        if self._roots is None:
            self._roots = {}
            for main in self._mains:
                found: dict[str, int] = {}
                for items in self._walk(main, b"", None, 0, [], tables=True):
                    for key, value in items:
                        if len(value) == _TREE.size:
                            found[key.decode("ascii", "replace")] = _TREE.unpack(value)[7]
                if "events" in found:
                    self._roots = found
                    break
        return self._roots.get(name)

    @property
    def has_tables(self) -> bool:
        """Whether the tables of a journal are named here."""
        return self._root("events") is not None

    def _walk(
        self, number: int, low: bytes, high: bytes | None, depth: int, losses: list[Loss], *, tables: bool = False
    ) -> Iterator[Items]:
        try:
            data = self._page(number, _BRANCH | _LEAF)
            if depth > _DEPTH or (not tables and self._seen(number)):
                raise BadPage("is reached twice")
            nodes = list(self._nodes(data))
        except BadPage as failure:
            losses.append(Loss(number, str(failure), low, high))
            return
        if _PAGE.unpack_from(data)[2] & _BRANCH:
            for place, (lo, hi, flags, _, key) in enumerate(nodes):
                after = nodes[place + 1][4] if place + 1 < len(nodes) else high
                yield from self._walk(lo | hi << 16 | flags << 32, key or low, after, depth + 1, losses, tables=tables)
            return
        items: Items = []
        for lo, hi, flags, at, key in nodes:
            try:
                items.append((key, self._value(data, lo, hi, flags, at)))
            except BadPage as failure:
                losses.append(Loss(number, str(failure), key, key + b"\0"))
        yield items

    def astray(self, table: Table) -> Iterator[Loss]:
        """The pages of a table with keys where a search does not look for them: reading on from key to key passes over such damage."""
        root = self._root(table.name.lower())
        if root is not None and root != _NO_PAGE:
            yield from self._misplaced(root, b"", None, 0)

    def _misplaced(self, number: int, low: bytes, high: bytes | None, depth: int) -> Iterator[Loss]:
        try:
            data = self._page(number, _BRANCH | _LEAF)
            if depth > _DEPTH:
                raise BadPage("is reached in circles")
            branch = _PAGE.unpack_from(data)[2] & _BRANCH
            nodes = list(self._nodes(data))
            keys = [node[4] for node in nodes]
            if branch:
                keys[0] = low  # what is written there is never looked at
            if keys and (keys[0] < low or (high is not None and keys[-1] >= high)):
                raise BadPage("holds keys that belong elsewhere")
            if sorted(set(keys)) != keys:
                raise BadPage("holds keys out of their order")
        except (BadPage, IndexError) as failure:
            yield Loss(number, str(failure), low, high)
            return
        if branch:
            for (lo, hi, flags, _, _), first, after in zip(nodes, keys, [*keys[1:], high], strict=True):
                yield from self._misplaced(lo | hi << 16 | flags << 32, first, after, depth + 1)

    def _seen(self, number: int) -> bool:
        """Whether a page was met before; it is from now on."""
        place, bit = number >> 3, 1 << (number & 7)
        before = bool(self._met[place] & bit)
        self._met[place] |= bit
        return before

    def met(self, number: int) -> bool:
        """Whether a walk has come by this page."""
        return bool(self._met[number >> 3] & 1 << (number & 7))

    def strays(self) -> Iterator[Items]:
        """The leaves that no walk has met, in the order of the file, as far as they can be read."""
        for number in range(2, self.pages):
            if self.met(number):
                continue
            try:
                data = self._page(number, _LEAF)
                nodes = list(self._nodes(data))
            except BadPage:
                continue
            items: Items = []
            for lo, hi, flags, at, key in nodes:
                try:
                    if len(key) == 8 and not flags & 2:
                        items.append((key, self._value(data, lo, hi, flags, at)))
                except BadPage:
                    continue
            if items:
                yield items


def astray_in(path: str) -> Iterator[str]:
    """The same of all tables of a data.mdb, in words.  Of a file that nobody writes to."""
    with PageFile(path) as file:
        for table in Table:
            for loss in file.astray(table):
                yield f"page {loss.page} of table {table.name} {loss.why}, so a search does not find what is there"


__all__ = ["Loss", "PageFile", "astray_in"]

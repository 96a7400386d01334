"""Every disk a crash could have left, from the log of what a program wrote (the idea of ALICE, OSDI '14).

The model.  Each file has a durable image and a list of *pending* pieces.
1. A buffered write is pending until the next sync of its file; then it is in the image.
2. A write through an O_DSYNC descriptor is in the image when the call returns, and alone: it flushes nothing else.
3. A truncation is pending like a write.
4. Names (created, renamed, unlinked) are pending until their directory is synced, and become durable in order: file systems journal them.
5. At a crash any subset of the pending pieces may have arrived, in any order, each whole or as any subset of its 512-byte sectors, and any
   first part of the pending names.  Holes read as zeros.
6. What was acknowledged before the crash must be found.  What was not may be found.

A crash point is "after operation n".  At each the plain states come first (everything arrived; nothing did), then all subsets where the
pending pieces are few, then chance.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crash.shim import Op

SECTOR = 512
_FEW = 3  # up to this many pending pieces every subset is tried


@dataclass(slots=True)
class _File:
    image: bytearray = field(default_factory=bytearray)
    pending: list[tuple[str, int, bytes]] = field(default_factory=list)

    @staticmethod
    def put(image: bytearray, kind: str, offset: int, data: bytes) -> None:
        if kind == "T":
            if offset < len(image):
                del image[offset:]
            else:
                image.extend(bytes(offset - len(image)))
            return
        if offset > len(image):
            image.extend(bytes(offset - len(image)))
        image[offset : offset + len(data)] = data

    def sync(self) -> None:
        for piece in self.pending:
            self.put(self.image, *piece)
        self.pending.clear()


@dataclass(frozen=True, slots=True)
class State:
    """A disk after a crash.  `files`: name -> content.  `acks`: everything acknowledged before it."""

    point: int
    variant: str
    files: dict[str, bytes]
    acks: bytes

    def write(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in self.files.items():
            target = directory / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                _sparse(file.fileno(), content)


def _sparse(fd: int, content: bytes, block: int = 1 << 16) -> None:
    nothing = bytes(block)
    for at in range(0, len(content), block):
        piece = content[at : at + block]
        if piece != nothing[: len(piece)]:
            os.pwrite(fd, piece, at)
    os.ftruncate(fd, len(content))


class Disk:
    """Follows a log and yields the states a crash after each operation could leave."""

    def __init__(self, root: str, start: dict[str, bytes] | None = None) -> None:
        self.root = root.rstrip("/")
        self._files: dict[int, _File] = {}
        self._serial = itertools.count()
        self._now: dict[str, int] = {}  # name -> file, as the running program sees it
        self._durable: dict[str, int] = {}
        self._names: list[tuple[str, str, str, int]] = []  # pending: kind, name, new name, file
        self._acks = bytearray()
        self.pieces = 0
        for name, content in (start or {}).items():
            number = self._new(name)
            self._files[number].image = bytearray(content)
            self._durable[name] = number

    def _new(self, name: str) -> int:
        number = next(self._serial)
        self._files[number] = _File()
        self._now[name] = number
        return number

    def _name(self, path: str) -> str | None:
        return path[len(self.root) + 1 :] if path.startswith(self.root + "/") else None

    def feed(self, op: Op) -> bool:
        """Take the next operation.  True: it may have changed what a crash leaves behind."""
        if op.kind == "A":
            self._acks += op.data
            return False
        name = self._name(op.path)
        if op.kind == "S" and name is None:
            return self._sync_names(op.path)
        if name is None:
            return False
        if op.kind == "C":
            self._names.append(("C", name, "", self._new(name)))
        elif op.kind == "R":
            new = self._name(op.data.decode()) or ""
            number = self._now.pop(name, None)
            if number is None:
                return False
            self._now[new] = number
            self._names.append(("R", name, new, number))
        elif op.kind == "U":
            number = self._now.pop(name, None)
            if number is not None:
                self._names.append(("U", name, "", number))
        else:
            self._data(op, name)
        return True

    def _sync_names(self, path: str) -> bool:
        if path.rstrip("/") != self.root:
            return False
        for change in self._names:
            self._rename(self._durable, change)
        self._names.clear()
        return True

    @staticmethod
    def _rename(names: dict[str, int], change: tuple[str, str, str, int]) -> None:
        kind, name, new, number = change
        if kind != "C":
            names.pop(name, None)
        if kind == "C":
            names[name] = number
        elif kind == "R":
            names[new] = number

    def _data(self, op: Op, name: str) -> None:
        number = self._now.get(name)
        file = self._files[self._new(name) if number is None else number]
        self.pieces += op.kind in "WD"
        if op.kind == "S":
            file.sync()
        elif op.kind == "D":
            file.put(file.image, "W", op.offset, op.data)
        else:
            file.pending.append((op.kind, op.offset, op.data))

    def states(self, point: int, chance: random.Random, most: int) -> Iterator[State]:
        """Up to `most` different disks that a crash right now could leave."""
        if most <= 0:
            return
        waiting = [(number, piece) for number, file in self._files.items() for piece in file.pending]
        everything = list(range(len(waiting)))
        yield self._state(point, "all of it", waiting, everything, len(self._names), None)
        if not waiting and not self._names:
            return
        plans: list[tuple[str, Sequence[int], int, random.Random | None]] = [("none of it", [], 0, None)]
        if len(waiting) <= _FEW:
            for size in range(1, len(waiting)):
                plans += [(f"pieces {s}", s, chance.randint(0, len(self._names)), None) for s in itertools.combinations(everything, size)]
        while len(plans) < most - 1:
            some = [n for n in everything if chance.random() < chance.choice((0.2, 0.5, 0.8))]
            chance.shuffle(some)
            torn = chance if chance.random() < 0.5 else None
            plans.append((f"{'torn ' if torn else ''}pieces in disorder", some, chance.randint(0, len(self._names)), torn))
        for variant, chosen, names, torn in plans[: most - 1]:
            yield self._state(point, variant, waiting, chosen, names, torn)

    def _state(
        self,
        point: int,
        variant: str,
        waiting: Sequence[tuple[int, tuple[str, int, bytes]]],
        chosen: Sequence[int],
        names: int,
        torn: random.Random | None,
    ) -> State:
        images = {number: file.image for number, file in self._files.items()}
        copied: set[int] = set()
        for which in chosen:
            number, (kind, offset, data) = waiting[which]
            if number not in copied:
                images[number] = bytearray(images[number])
                copied.add(number)
            if torn is None or kind == "T":
                _File.put(images[number], kind, offset, data)
                continue
            for at in range(0, len(data), SECTOR):
                if torn.random() < 0.5:
                    _File.put(images[number], kind, offset + at, data[at : at + SECTOR])
        bound = dict(self._durable)
        for change in self._names[:names]:
            self._rename(bound, change)
        return State(point, variant, {name: bytes(images[number]) for name, number in bound.items()}, bytes(self._acks))

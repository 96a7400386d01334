"""The LD_PRELOAD shim from Python: building it, loading it into a program, reading its log, arming its failures."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from crash.programs import HERE
from crash.report import Skip

_HEAD = struct.Struct("<BHQQ")
_built: Path | None = None


def build(scratch: Path) -> Path:
    """Compile shim.c once a run.  Without a compiler it is fetched when that is possible here, else the tests that need it skip."""
    global _built
    if _built is not None and _built.exists():
        return _built
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-q", "gcc", "libc6-dev"], capture_output=True, timeout=300)
        compiler = shutil.which("gcc")
    if compiler is None:
        raise Skip("no C compiler (gcc), so no recorder and no injector")
    target = scratch / "shim.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(HERE / "shim.c"), "-ldl", "-lpthread"], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Skip(f"shim.c does not compile here: {done.stderr.strip().splitlines()[0]}")
    _built = target
    return target


def loaded(library: Path, *, match: str, log: Path | None = None, skip: str = "lock.mdb") -> dict[str, str]:
    """Environment that puts the shim under a program.  `match`: part of every path it looks at."""
    env = {"LD_PRELOAD": str(library), "SHIM_MATCH": match, "SHIM_SKIP": skip}
    if log is not None:
        env["SHIM_LOG"] = str(log)
    return env


@dataclass(frozen=True, slots=True)
class Op:
    """One thing a program asked of the disk, in the order it happened.  `kind` as in shim.c."""

    kind: str
    path: str
    offset: int
    data: bytes


def read_log(log: Path) -> Iterator[Op]:
    raw = log.read_bytes()
    at = 0
    while at + _HEAD.size <= len(raw):
        kind, path_len, offset, size = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        if at + path_len + size > len(raw):
            return  # the program was killed inside a record: what it described had happened, but nothing after it did
        path = raw[at : at + path_len].decode()
        at += path_len
        yield Op(chr(kind), path, offset, raw[at : at + size])
        at += size


class Injector:
    """Failing calls, from inside the program under test (it must have been started with `loaded`)."""

    CLASSES: ClassVar = {"write": "w", "meta": "d", "sync": "s", "size": "t", "name": "n"}

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._arm, self._disarm, self._calls, self._failed = library.shim_arm, library.shim_disarm, library.shim_calls, library.shim_failed
        self._calls.restype = self._failed.restype = ctypes.c_long
        self._arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_long, ctypes.c_int]

    def arm(self, kind: str, nth: int, error: int, *, count: int = 1, after: int = 0) -> None:
        """From now on let the nth call of `kind` fail with errno `error` (0: a short write), and the count-1 calls after it.

        `after` 1: the call is made and then reported as failed; 2: and then the disk is gone.
        """
        self._arm(ord(self.CLASSES[kind]), nth, error, count, after)

    def disarm(self) -> None:
        self._disarm()

    def calls(self, kind: str) -> int:
        return int(self._calls(ord(self.CLASSES[kind])))

    @property
    def failed(self) -> int:
        return int(self._failed())


ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "short": 0}

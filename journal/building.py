"""A new journal's directory appears whole, or not at all.

Problem.  A backup or an import takes minutes, and may be stopped, killed or find damage at its end.  What it leaves behind must never
look like a journal.  Choice: it works in `NAME.part` beside the destination, and a rename, after everything is on the disk, is the last
step. Whatever stops the work removes the folder; a kill leaves it, and the next attempt at the same destination removes it then.  A lock
on the folder tells a dead attempt from one that is under way.

Nothing is ever overwritten: a destination that holds anything is refused, at the beginning and by the rename itself.  Rejected: a folder
with a name by chance (each kill leaves another one, and nobody knows whose they are).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from typing import Final

from journeyman.journal.ballast import BALLAST
from journeyman.journal.errors import JournalError, JournalFull, JournalLocked, Occupied
from journeyman.journal.filesystem import make_directory, refuse_unsafe, sync_directory
from journeyman.journal.identity import COPIED, SIDECAR
from journeyman.journal.lock import LOCK_NAME
from journeyman.journal.wal import ACKED, WAL

PART: Final = ".part"
SCRATCH: Final = "salvage"  # a folder in the folder, for the records of a damaged journal (journal/repair.py)
_OURS: Final = frozenset({
    "data.mdb", "lock.mdb", WAL, ACKED, "entered", "identity.new", "copied.new", COPIED, SIDECAR, LOCK_NAME, BALLAST, SCRATCH,
})  # fmt: skip
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def building(destination: str | os.PathLike[str], *, allow_unsafe_fs: bool = False) -> Iterator[str]:
    """The folder to work in.  At the end of the block it becomes `destination`; an error of any kind removes it.

    Occupied when something is there; JournalLocked when another process builds there; JournalFull; JournalError.
    """
    path = os.path.abspath(os.fspath(destination))
    part = path + PART
    with readable(path):
        refuse_occupied(path)
        _clear_away(part)
        lock = None
        try:
            if not make_directory(part):
                raise _Busy(part)
            lock = _only_here(part)
            refuse_unsafe(part, allow_unsafe_fs)
            yield part
            sync_directory(part)
            _appear(part, path)
        except _Busy:
            raise
        except BaseException:
            sweep_away(part)
            raise
        finally:
            if lock is not None:
                os.close(lock)


class _Busy(JournalLocked):
    """The folder is another's."""

    def __init__(self, part: str) -> None:
        super().__init__(f"another process is at work in {part}: wait for it, or name another place")


def sweep_away(path: str) -> None:
    """Remove a folder, even if a Ctrl-C comes while it is being removed."""
    try:
        shutil.rmtree(path, ignore_errors=True)
    except KeyboardInterrupt:
        shutil.rmtree(path, ignore_errors=True)
        raise


def refuse_occupied(path: str) -> None:
    """Occupied unless there is nothing, or an empty directory."""
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path) or os.listdir(path)):
        raise Occupied(f"{path} is there already, and nothing is ever overwritten: name a place where nothing is")


def _clear_away(part: str) -> None:
    """Remove what a killed attempt has left."""
    if not os.path.lexists(part):
        return
    if os.path.islink(part) or not os.path.isdir(part) or set(os.listdir(part)) - _OURS:
        raise Occupied(f"{part} is in the way, and is not what an earlier attempt has left: move it away")
    lock = _only_here(part)
    try:
        shutil.rmtree(part)
    finally:
        os.close(lock)


def _only_here(part: str) -> int:
    """Hold the folder as long as the returned descriptor is open."""
    lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as failure:
        os.close(lock)
        raise _Busy(part) from failure
    return lock


def _appear(part: str, path: str) -> None:
    try:
        os.rename(part, path)
    except OSError as failure:
        if failure.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Occupied(f"{path} has appeared meanwhile, and nothing is ever overwritten: name another place") from failure
        raise
    sync_directory(os.path.dirname(path))


@contextlib.contextmanager
def readable(path: str) -> Iterator[None]:
    """What the operating system refuses, as what the operator must do.  `path`: what is being written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except JournalFull:  # of a store that is part of what is being written: no engine is there to be opened again
        raise _no_room(path) from None
    except OSError as failure:
        if failure.errno in _NO_ROOM:
            raise _no_room(path) from None
        raise JournalError(f"{path} cannot be written: {failure.strerror or failure} ({failure.filename or path})") from failure


def _no_room(path: str) -> JournalFull:
    return JournalFull(f"no room on the disk for {path}: free some, or name another disk; nothing was left there")


__all__ = ["PART", "SCRATCH", "building", "readable", "refuse_occupied", "sweep_away"]

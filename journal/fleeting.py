"""A copy of a journal that lasts as long as somebody reads it: what a complete export beside a running engine is made of.

Problem.  The copy is as large as the journal, and whoever makes it may be killed, which no `finally` hears.  Choice: it lies in a folder
`.journeyman-export-...` that is held by a lock, and goes from its place as soon as LMDB has it open, so the system frees its room when the
reader ends, however that happens.  What a kill before that leaves, while the copy is being made, is a folder that nobody holds: the next
one who makes a copy at that place removes it.

Rejected: a name made of the export's file (stdout has none, and an export of another name would not find it); a file without a name from
the beginning (LMDB opens names, and not every file system has such files).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Final

from journeyman.journal.building import sweep_away

PREFIX: Final = ".journeyman-export-"
_OURS: Final = frozenset({"data.mdb", "lock.mdb"})


@contextlib.contextmanager
def fleeting(where: str | None) -> Iterator[str]:
    """A folder of one's own in the directory `where` (None: among the system's temporary files), gone at the end.

    Whoever has opened what is in it may remove it before (`sweep_away`).  OSError.
    """
    place = tempfile.gettempdir() if where is None else where
    _clear_away(place)
    folder, lock = _held(place)
    try:
        yield folder
    finally:
        sweep_away(folder)
        os.close(lock)


def _held(place: str) -> tuple[str, int]:
    """A new folder, and what holds it while it is open."""
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=place)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(folder):
            return folder, lock
        os.close(lock)  # another one took it for a dead one's before it was held


def _clear_away(place: str) -> None:
    """Remove the folders that killed ones have left.  Whatever cannot be removed stays for whom it belongs to."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_dead(entry.path)


def _remove_if_dead(folder: str) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_uid == os.geteuid() and set(os.listdir(folder)) <= _OURS:
            shutil.rmtree(folder)
    finally:
        os.close(lock)


__all__ = ["PREFIX", "fleeting"]

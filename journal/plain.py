"""The files beside data.mdb, opened so that what stands in their place can neither hang nor mislead, and left to whom they belong.

Problem.  Opening a FIFO waits for ever; what the system will not read says nothing of who must act; a file that root's tool makes in
another's directory is one that its owner cannot open.  Choice: every such file is opened here, without waiting, must be a regular one, and
is given to the owner of its directory when root makes it.  Only to one's own new file, never to one that is there already: it may be a link
that somebody has put there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final

from journeyman.journal.errors import JournalCorrupt, JournalError, Unreadable

_NO_FILE: Final = (errno.EISDIR, errno.ENXIO)  # a directory opened for writing, a socket


def open_plain(path: str, flags: int) -> int:
    """A descriptor of a file of the journal's; one that is made is 0600.  JournalCorrupt for what is no regular file; OSError."""
    flags |= os.O_CLOEXEC | os.O_NONBLOCK
    if flags & os.O_CREAT and os.geteuid() == 0:
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, flags | os.O_EXCL, 0o600)
            _give(fd, os.path.dirname(path))
            return fd
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as failure:
        if failure.errno in _NO_FILE:
            raise _misplaced(path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _misplaced(path)
    return fd


def read_plain(path: str, most: int = -1) -> bytes | None:
    """What a file of the journal's holds, `most` bytes of it unless negative; None when it is not there.  JournalCorrupt, Unreadable."""
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            return file.read(most)
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise _unreadable(path, failure) from failure


def open_to_read(path: str) -> int:
    """A descriptor to read a file of the journal's.  FileNotFoundError, JournalCorrupt, Unreadable."""
    try:
        return open_plain(path, os.O_RDONLY)
    except FileNotFoundError:
        raise
    except OSError as failure:
        raise _unreadable(path, failure) from failure


def make_for_owner(path: str) -> None:
    """As root: make an empty file for the owner of its directory, where there is none and where one can be made."""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            os.close(open_plain(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))


def own_alike(path: str, like: str) -> None:
    """Give a file or folder of ours the owner and group of another.  JournalError where that is not allowed."""
    wanted, found = os.stat(like), os.stat(path, follow_symlinks=False)
    if (wanted.st_uid, wanted.st_gid) == (found.st_uid, found.st_gid):
        return
    try:
        os.chown(path, wanted.st_uid, wanted.st_gid, follow_symlinks=False)
    except OSError as failure:
        raise JournalError(
            f"{like} belongs to user {wanted.st_uid}, group {wanted.st_gid}, and what user {os.geteuid()} would put in its place cannot be "
            f"given to them ({failure.strerror}): run this as user {wanted.st_uid}"
        ) from failure


def whose(path: str) -> str:
    """What to do about a file that this user may not open."""
    try:
        owner, home = os.stat(path).st_uid, os.stat(os.path.dirname(path))
    except OSError:
        return "Run this as the owner of the journal's directory"
    me = os.geteuid()
    if owner == me:
        return f"It belongs to this user: `chmod 600 {path}`"
    if owner == home.st_uid:
        return f"It belongs to user {owner}, as the journal's directory does: run this as that user"
    return (
        f"It belongs to user {owner}, the journal's directory to user {home.st_uid}: let user {owner} or root give it back with "
        f"`chown {home.st_uid}:{home.st_gid} {path}`"
    )


def _give(fd: int, directory: str) -> None:
    wanted, found = os.stat(directory), os.fstat(fd)
    if (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid):
        with contextlib.suppress(OSError):  # a root that may not, as in some containers
            os.fchown(fd, wanted.st_uid, wanted.st_gid)


def _unreadable(path: str, failure: OSError) -> Unreadable:
    if isinstance(failure, PermissionError):
        return Unreadable(f"{path} cannot be read by user {os.geteuid()}.  {whose(path)}")
    return Unreadable(
        f"{path} cannot be read ({failure.strerror}).  Is the disk failing?  Keep a copy of the directory, and restore a backup or save "
        "what can be saved with `journeyman repair`"
    )


def _misplaced(path: str) -> JournalCorrupt:
    return JournalCorrupt(
        f"{path} is no regular file, and a journal has no others: somebody has put it there.  Move it away and open the journal again, "
        "which tells if something is missing then; if so, restore a backup or save what can be saved with `journeyman repair`"
    )


__all__ = ["make_for_owner", "open_plain", "open_to_read", "own_alike", "read_plain", "whose"]

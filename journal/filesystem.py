"""Which file system a journal lies on, and whether that can be trusted.

LMDB maps its file and relies on locks that work; network and foreign file systems keep neither promise (NFS, SMB, 9p, FUSE mounts of
another host).  Such a journal works for weeks and is then gone, so it is refused unless the caller insists.

statfs(2) is reached through ctypes because the standard library does not show f_type.  Where that fails (another libc, another system),
nothing is refused.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
import warnings
from typing import Final

from journeyman.journal.errors import JournalError
from journeyman.journal.plain import open_plain

_UNSAFE: Final = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFE534D42: "SMB2",
    0xFF534D42: "CIFS",
    0x01021997: "9P",
    0x65735546: "FUSE",
    0x00C36400: "Ceph",
    0x47504653: "GPFS",
    0x0BD00BD0: "Lustre",
    0x73757245: "Coda",
    0x5346414F: "AFS",
    0x786F4256: "VirtualBox shared folder",
    0xBACBACBC: "VMware shared folder",
    0x6A656A63: "virtiofs",
}


def type_of(path: str) -> int | None:
    """The f_type of the file system that holds `path`, None when it cannot be told."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(512)  # struct statfs is smaller on every architecture
        if libc.statfs(os.fsencode(path), buffer) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


def refuse_unsafe(path: str, allow: bool) -> None:
    """JournalError when the directory lies on a file system that cannot keep a journal."""
    name = _UNSAFE.get(type_of(path) or 0)
    if name is not None and not allow:
        raise JournalError(
            f"the journal at {path} lies on {name}, which cannot be trusted with a memory-mapped, locked file: move it to a local disk, "
            "or pass allow_unsafe_fs=True if you accept to lose it"
        )


def make_directory(path: str) -> bool:
    """Create the directory, 0700 whatever the umask, with parents as they come.  Whether it was created."""
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        os.makedirs(parent, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    os.chmod(path, 0o700)
    return True


def check_directory(path: str) -> None:
    """JournalError when it is no directory; a warning when others than its owner may write there."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise JournalError(f"{path} is not a directory: a journal is a directory of its own")
    if found.st_uid != os.geteuid():
        warnings.warn(
            f"the journal's directory {path} belongs to user {found.st_uid}, this process is {os.geteuid()}", RuntimeWarning, stacklevel=4
        )
    if found.st_mode & 0o022:
        warnings.warn(
            f"the journal's directory {path} can be written by others (mode {stat.S_IMODE(found.st_mode):o}): "
            "whoever writes there runs your handlers; chmod 700",
            RuntimeWarning,
            stacklevel=4,
        )


def sync_directory(path: str) -> None:
    """Make new names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: str, data: bytes) -> None:
    """Replace a small file: whole or not at all, on disk when this returns."""
    temporary = path + ".new"
    fd = open_plain(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path)
    sync_directory(os.path.dirname(path))

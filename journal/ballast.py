"""Room kept for hard times: a file of a few MiB whose only use is to be deleted.

On a full disk even deleting tasks needs pages, because LMDB copies before it writes.  `give_way` frees the ballast so that retention can
free the rest; the next open lays it anew when there is plenty of room.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from journeyman.journal.plain import open_plain

BALLAST: Final = "ballast"
BALLAST_BYTES: Final = 4 << 20
_PLENTY: Final = 8 * BALLAST_BYTES


def lay_ballast(directory: str) -> None:
    """Reserve the room, unless it is there already or the disk has none to spare."""
    path = os.path.join(directory, BALLAST)
    disk = os.statvfs(directory)
    if os.path.exists(path) or disk.f_bavail * disk.f_frsize < _PLENTY:
        return
    fd = open_plain(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(fd, 0, BALLAST_BYTES)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
    finally:
        os.close(fd)


def give_way(directory: str) -> int:
    """Delete the ballast.  The bytes freed; 0 when there is none."""
    path = os.path.join(directory, BALLAST)
    try:
        size = os.path.getsize(path)
        os.unlink(path)
    except FileNotFoundError:
        return 0
    return size

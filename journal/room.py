"""Whether a failed write means that the disk is full: LMDB does not say so in one way, but in five."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from journeyman.journal.errors import JournalError, JournalFull

_SHORT_WRITE: Final = -30772
_NEARLY_FULL: Final = 1 << 20  # bytes free below which an I/O error means "full"
_FULL: Final = (errno.EIO, errno.ENOSPC, errno.EDQUOT, _SHORT_WRITE)  # LMDB reports a short write as EIO


def may_mean_full(failure: BaseException) -> bool:
    """Whether it is worth asking the disk how much is left."""
    code = failure.args[0] if failure.args and isinstance(failure.args[0], int) else _code_in(str(failure))
    return code in _FULL or (code is None and isinstance(failure, OSError))


def failed_commit(path: str, failure: BaseException, *, doubt: bool) -> JournalError:
    """What a failed commit to the journal at `path` means to whoever must act.  `doubt`: the disk may be full."""
    if doubt:
        with contextlib.suppress(OSError):
            disk = os.statvfs(path)
            if disk.f_bavail * disk.f_frsize < _NEARLY_FULL:
                return JournalFull(
                    f"the disk of the journal at {path} is full: free some space and open the engine again; "
                    f"whether the last commit was stored shows then ({failure}).  {way_out(path)}"
                )
    return JournalError(
        f"a commit to the journal at {path} failed, its outcome is unknown; check the disk and open the engine again ({failure!r})"
    )


def way_out(path: str) -> str:
    """What helps where nothing else is on the disk that could go."""
    return (
        f"If nothing else can go, it can still be read: `journeyman backup {path} DEST` makes a copy on a larger disk; run the engine there"
    )


def _code_in(text: str) -> int | None:
    """The errno that LMDB put into its message; py-lmdb does not keep the number."""
    named = (code for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in text)
    return next(named, _SHORT_WRITE if "SHORT_WRITE" in text else None)


__all__ = ["failed_commit", "may_mean_full", "way_out"]

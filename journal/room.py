"""Whether a failed write may mean that the disk is full: LMDB does not say so in one way, but in five."""

from __future__ import annotations

import errno
import os
from typing import Final

_SHORT_WRITE: Final = -30772
_FULL: Final = (errno.EIO, errno.ENOSPC, errno.EDQUOT, _SHORT_WRITE)  # LMDB reports a short write as EIO


def may_mean_full(failure: BaseException) -> bool:
    """Whether it is worth asking the disk how much is left."""
    code = failure.args[0] if failure.args and isinstance(failure.args[0], int) else _code_in(str(failure))
    return code in _FULL or (code is None and isinstance(failure, OSError))


def _code_in(text: str) -> int | None:
    """The errno that LMDB put into its message; py-lmdb does not keep the number."""
    named = (code for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in text)
    return next(named, _SHORT_WRITE if "SHORT_WRITE" in text else None)


__all__ = ["may_mean_full"]

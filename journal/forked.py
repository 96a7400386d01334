"""What a forked child must not use: stores and locks are the parent's."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class _Abandonable(Protocol):
    def abandon(self) -> None: ...


_ours: weakref.WeakSet[_Abandonable] = weakref.WeakSet()


def abandon_after_fork(thing: _Abandonable) -> None:
    """Let `thing.abandon()` be called in a child, should this process fork while it lives."""
    _ours.add(thing)


def _after_fork() -> None:
    for thing in list(_ours):
        thing.abandon()
    _ours.clear()


os.register_at_fork(after_in_child=_after_fork)

__all__ = ["abandon_after_fork"]

"""Nothing starts on a disk that is all but full, until there is room again.

Problem.  A run writes its start and its outcome.  A queue that grew until the disk was full has thousands of tasks to run, and they would
use up what is kept for the outcomes of those under way; the commit that finds nothing left ends the engine.  Choice: below a bound
(room.py) no queue starts anything.  What runs finishes, prune frees what has expired, and an operator can pause, cancel and prune.  The
next commit sees that there is room; if somebody else makes it, there may be no commit, so while tasks wait the disk is asked every second.

Where there is no room for new tasks, nothing starts while a prune is under way either: short tasks end faster than a prune takes them away,
and those that end after its checkpoint wait for the next one, for which there is less room.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from journeyman.kernel.bounds import SECOND_US

if TYPE_CHECKING:
    from journeyman.actors.shell import Shell

_AGAIN_US: Final = SECOND_US


class Standstill:
    """Of one engine.  The timer wakes it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._told = False
        self._held = False
        self._prunes = 0

    def holds(self) -> bool:
        """Whether nothing may start now.  Asked by a queue that has something to start; all are woken when they may."""
        shell = self._shell
        if not shell.room.holds_starts:
            self._held = self._prunes > 0 and shell.room.strained
            return self._held
        if not self._told:
            self._told = True
            shell.log.error("the disk of the journal is full: nothing starts until there is room; prune ended tasks, or free some space")
        self._held = True
        shell.timer.set(self, shell.now() + _AGAIN_US)
        return True

    @contextlib.contextmanager
    def prune(self) -> Iterator[None]:
        """While this lasts, a prune makes room."""
        self._prunes += 1
        try:
            yield
        finally:
            self._prunes -= 1
            if self._held:
                self.wake()

    def wake(self) -> None:
        """Look whether there is room now."""
        shell = self._shell
        shell.look_at_the_disk()
        if shell.room.holds_starts:
            if not shell.stopping:
                shell.timer.set(self, shell.now() + _AGAIN_US)
            return
        self._told = self._held = False
        for actor in shell.actors.values():
            actor.wake()


__all__ = ["Standstill"]

"""Nothing starts on a disk that is all but full, until there is room again.

Problem.  A run writes its start and its outcome.  A queue that grew until the disk was full has thousands of tasks to run, and they would
use up what is kept for the outcomes of those under way; the commit that finds nothing left ends the engine.  Choice: below a bound
(room.py) no queue starts anything.  What runs finishes, prune frees what has expired, and an operator can pause, cancel and prune.  The
next commit sees that there is room; if somebody else makes it, there may be no commit, so while tasks wait the disk is asked every second,
and what has expired is pruned at once.  One task at a time still runs as long as pages are free inside the file (`Room.trickles`): what is
kept for outcomes is an estimate, and a standstill that nothing can end would be the worse mistake.

Where there is no room for new tasks, nothing starts while a prune is under way either: short tasks end faster than a prune takes them away,
and those that end after its checkpoint wait for the next one, for which there is less room.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from journeyman.kernel.bounds import SECOND_US

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor
    from journeyman.actors.shell import Shell

_AGAIN_US: Final = SECOND_US


class Standstill:
    """Of one engine.  The timer wakes it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._held: dict[QueueActor, None] = {}
        self._prunes = 0
        self._asks_again = False
        self._told = False

    def holds(self, actor: QueueActor) -> bool:
        """Whether `actor`, which has something to start, may not.  It is woken when it is worth asking again."""
        shell = self._shell
        full = shell.room.holds_starts
        if not full and not (self._prunes and shell.room.strained):
            return False
        self._held[actor] = None
        if full and not self._asks_again:
            self._asks_again = True
            shell.timer.set(self, shell.now() + _AGAIN_US)
            shell.prune_wanted()
        if full and not self._prunes and shell.room.trickles and not any(one.attempts for one in shell.actors.values()):
            return False
        if full and not self._told:
            self._told = True
            shell.log.error("the disk of the journal is full: nothing starts until there is room; prune ended tasks, or free some space")
        return True

    @property
    def allowance(self) -> int | None:
        """How many may start now, if that is asked at all; None: as many as have slots."""
        return 1 if self._shell.room.holds_starts else None

    @contextlib.contextmanager
    def prune(self) -> Iterator[None]:
        """While this lasts, a prune makes room."""
        self._prunes += 1
        try:
            yield
        finally:
            self._prunes -= 1
            self._look_again()

    def wake(self) -> None:
        """The second is over."""
        self._asks_again = False
        self._look_again()

    def _look_again(self) -> None:
        """Look whether there is room now, and let those that were held ask again."""
        held, self._held = self._held, {}
        if not held:
            return
        self._shell.look_at_the_disk()
        self._told = self._shell.room.holds_starts
        for actor in held:
            actor.wake()


__all__ = ["Standstill"]

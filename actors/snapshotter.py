"""The snapshotter: takes checkpoints, so that recovery reads a tail and not a history.

It works in small pieces between other turns: a few rows are encoded, ride in the next commit, and the loop goes on.  A checkpoint is taken
when enough events have come since the last, when housekeeping finds it worth it (actors/housekeeper.py), and before a prune by hand.

One for which the disk has no room is not begun; if the room goes while it is written it is given up, for a prune cannot take what a running
checkpoint may concern, and prune is what makes room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from journeyman.actors.shell import Shell
from journeyman.actors.writer import Step
from journeyman.kernel.bounds import CHECKPOINT_ROWS

_ROW: Final = 300  # bytes that a row takes with what leads to it


class Snapshotter:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.lock = trio.Lock()  # rows are written or deleted by one hand at a time; the pruner takes it too
        self._wanted = trio.Event()
        self.after: Callable[[], Awaitable[object]] = (
            trio.lowlevel.checkpoint
        )  # prune: what has expired need not wait in memory for the next round
        self.cramped = False  # whether the last one was not to be had because the disk has no room
        shell.checkpoint_wanted = self.want

    def want(self) -> None:
        self._wanted.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await self.take()
            await self.after()

    @trio.lowlevel.enable_ki_protection
    async def take(self, *, for_prune: bool = False) -> bool:
        """Take a checkpoint of now and wait until it is durable; False when nothing has changed since the last, or the disk has no room.

        `for_prune`: for a prune, which may have the last of the room, for it gives back more.
        Whoever waits here may be cancelled between two pieces: then the next to come finishes that checkpoint before its own.
        """
        shell = self._shell
        async with self.lock:
            self.cramped = False
            with shell.keeping_house():
                if not await self._finish(for_prune):
                    return False
                if shell.journal.next_seq - 1 == shell.checkpoint.through_seq:
                    return False
                if not self._room(self._rows(), for_prune):
                    return False
                return await shell.sealed(self._begin) and await self._finish(for_prune)

    def _begin(self) -> bool:
        shell = self._shell
        if not shell.sound:
            return False  # whoever asks next will find it so
        shell.checkpoint.begin(shell.world, shell.journal.next_seq - 1, shell.now())
        return True

    def _rows(self) -> int:
        journal, queues = self._shell.journal, self._shell.world.queues.values()
        return sum(len(queue.tasks) for queue in queues) if journal.stepped else len(journal.dirty)

    def _room(self, rows: int, for_prune: bool) -> bool:
        room = self._shell.room
        self.cramped = not (room.has_at_last(rows * _ROW) if for_prune else room.has(rows * _ROW))
        return not self.cramped

    async def _finish(self, for_prune: bool) -> bool:
        """Write what is left of the checkpoint under way, if one is; False where the disk has no room for it, and it was given up."""
        shell, checkpoint = self._shell, self._shell.checkpoint
        if checkpoint.running:
            await shell.writer.settled()
        while checkpoint.running:
            if not checkpoint.complete and not self._room(len(checkpoint.unwritten), for_prune):
                checkpoint.give_up()
                return False
            chunk = checkpoint.next_chunk(CHECKPOINT_ROWS)
            if chunk is None:
                break
            if chunk:
                step = Step()
                step.extras.append(chunk)
                shell.writer.record(step)
            await shell.writer.settled()
            await trio.lowlevel.cancel_shielded_checkpoint()
        return True

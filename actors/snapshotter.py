"""The snapshotter: takes checkpoints, so that recovery reads a tail and not a history.

It works in small pieces between other turns: a few rows are encoded, ride in the next commit, and the loop goes on.  A checkpoint is taken
when enough events have come since the last, when the minute's housekeeping finds something changed, and before a prune.
"""

from __future__ import annotations

import trio

from journeyman.actors.shell import Shell
from journeyman.kernel.bounds import CHECKPOINT_ROWS


class Snapshotter:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._lock = trio.Lock()
        self._wanted = trio.Event()
        shell.checkpoint_wanted = self.want

    def want(self) -> None:
        self._wanted.set()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await self.take()

    async def take(self) -> bool:
        """Take a checkpoint of now and wait until it is durable; False when nothing has changed since the last."""
        shell = self._shell
        async with self._lock:
            through_seq = shell.journal.next_seq - 1
            if not shell.checkpoint.begin(shell.world, through_seq, shell.now()):
                return False
            while (chunk := shell.checkpoint.next_chunk(CHECKPOINT_ROWS)) is not None:
                shell.writer.attach(chunk)
                await shell.writer.settled()
            for name, ids in shell.checkpoint.finished().items():
                actor = shell.actors.get(name)
                if actor is not None:
                    actor.state.settle(ids)
            return True

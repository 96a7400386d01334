"""Arguments of tasks submitted in this boot, kept for the start that follows soon.

Most tasks start shortly after they were submitted, by the process that has their arguments in hand; reading them back from the
disk would double the work.  Bounded in bytes: what does not fit is read when it starts.  But a task may start in the very step that
records it, when the disk does not hold its arguments yet: so what is new is kept until it is durable, whether it fits or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from journeyman.kernel.bounds import FRESH_PAYLOAD_BYTES


class FreshPayloads:
    __slots__ = ("held", "room")

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.room = FRESH_PAYLOAD_BYTES

    def keep(self, task: bytes, payload: bytes) -> None:
        size = len(payload)
        if size <= self.room:
            self.held[task] = payload
            self.room -= size

    def keep_new(self, tasks: Sequence[bytes], payloads: Sequence[bytes], effects: list[Any]) -> None:
        """Keep what a step brings, whose `effects` run when it is durable: all of it until then, and as much as there is room for after."""
        size = sum(map(len, payloads))
        if size <= self.room:
            self.held.update(zip(tasks, payloads, strict=True))
            self.room -= size
            return
        beyond: list[bytes] = []
        for task, payload in zip(tasks, payloads, strict=True):
            if len(payload) > self.room:
                beyond.append(task)
            self.held[task] = payload
            self.room -= len(payload)
        effects.append((self._durable, beyond))

    def _durable(self, tasks: Sequence[bytes]) -> None:
        for task in tasks:
            self.forget(task)

    def forget(self, task: bytes) -> None:
        payload = self.held.pop(task, None)
        if payload is not None:
            self.room += len(payload)

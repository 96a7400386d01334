"""Arguments of tasks submitted in this boot, kept for the start that follows soon.

Most tasks start shortly after they were submitted, by the process that has their arguments in hand; reading them back from the
disk would double the work.  Bounded in bytes: what does not fit is read when it starts.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    def keep_all(self, tasks: Sequence[bytes], payloads: Sequence[bytes]) -> None:
        """`keep` each: all at once where all fit."""
        size = sum(map(len, payloads))
        if size <= self.room:
            self.held.update(zip(tasks, payloads, strict=True))
            self.room -= size
        else:
            for task, payload in zip(tasks, payloads, strict=True):
                self.keep(task, payload)

    def forget(self, task: bytes) -> None:
        payload = self.held.pop(task, None)
        if payload is not None:
            self.room += len(payload)

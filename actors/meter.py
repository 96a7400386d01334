"""How much happens: events of each sort in the last minute, a queue.

Sixty buckets of one second, counted by kernel time; a bucket is emptied when its second comes round again.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 60  # seconds


class Meter:
    __slots__ = ("_buckets", "_since", "total")

    def __init__(self, now: int) -> None:
        self._buckets: list[tuple[int, int]] = [(-1, 0)] * WINDOW  # (second, count)
        self._since = now // 1_000_000
        self.total = 0

    def add(self, count: int, now: int) -> None:
        second = now // 1_000_000
        at = second % WINDOW
        held, before = self._buckets[at]
        self._buckets[at] = (second, before + count if held == second else count)
        self.total += count

    def rate(self, now: int) -> float:
        """Per second, over the last minute or since the start if that is shorter."""
        second = now // 1_000_000
        counted = sum(count for held, count in self._buckets if second - WINDOW < held <= second)
        return counted / max(1, min(WINDOW, second - self._since + 1))

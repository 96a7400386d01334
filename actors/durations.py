"""How long attempts take: a histogram of fixed size a queue.

Exact percentiles want every value; a histogram whose buckets grow by 2**(1/8) is within 4.5 % of them in 512 integers, whatever the load
(the idea of HdrHistogram).  It is folded from end events as they are applied and starts empty at every boot.
"""

from __future__ import annotations

import math
from typing import Final

_PER_DOUBLING: Final = 8
_BUCKETS: Final = 40 * _PER_DOUBLING  # up to 2**40 us, twelve days


class Durations:
    __slots__ = ("_counts", "count", "total_us")

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)
        self.count = 0
        self.total_us = 0

    def add(self, elapsed_us: int) -> None:
        self.count += 1
        self.total_us += elapsed_us
        bucket = int(math.log2(elapsed_us) * _PER_DOUBLING) if elapsed_us > 1 else 0
        self._counts[min(bucket, _BUCKETS)] += 1

    @property
    def mean(self) -> float | None:
        """Seconds; None before the first attempt has ended."""
        return self.total_us / self.count / 1_000_000 if self.count else None

    def quantile(self, q: float) -> float | None:
        """Seconds below which a fraction `q` of the attempts stayed, within 4.5 %."""
        if not self.count:
            return None
        wanted = math.ceil(q * self.count)
        seen = 0
        for bucket, n in enumerate(self._counts):
            seen += n
            if seen >= wanted:
                return float(2 ** ((bucket + 0.5) / _PER_DOUBLING)) / 1_000_000
        raise AssertionError("unreachable: the buckets hold every attempt")

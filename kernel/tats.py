"""Theoretical arrival times under names: of the shared limiters that a queue draws from, and of its keys.

Problem.  A limiter's time is folded from starts, and its starts are pruned; keys come and go by the hundred thousand, and what a key has
used is forgotten as soon as its bucket is full again.  Choice: name -> (tat, seq that set it), and `at`, the newest instant of a start
that was counted here.  An entry whose time is not after `at` says nothing any more (a start at or after `at` is as free as the first), so
it is no fact, and a sweep may drop it whenever it likes: what can be observed is the same on every replay.

A replay in which pruned starts are missing is put right by what the prune left behind (`residue`), a late summary by `merge`: the
younger entry stands, and equal ones are the same start, moved by steps of the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from journeyman.kernel.bounds import STALE_MIN


class Tats:
    """Times by name, in microseconds UTC."""

    __slots__ = ("_at", "_limit", "_tats")

    def __init__(self) -> None:
        self._at = 0
        self._tats: dict[str, tuple[int, int]] = {}
        self._limit = STALE_MIN

    def __len__(self) -> int:
        """Entries kept, those that say nothing any more included: what it costs."""
        return len(self._tats)

    def get(self, name: str) -> int:
        """The theoretical arrival time under `name`; 0: it has never been used, or its bucket is full again."""
        entry = self._tats.get(name)
        return 0 if entry is None else entry[0]

    # --- changes, called by apply ---------------------------------------------------------------------------------------

    def took(self, name: str, tat_at: int, at: int, seq: int) -> None:
        """A start at `at`, which the journal holds at `seq`, has set the time under `name`."""
        tats = self._tats
        tats[name] = (tat_at, seq)
        if at > self._at:
            self._at = at
        if len(tats) > self._limit:
            self._tats = {name: entry for name, entry in tats.items() if entry[0] > self._at}
            self._limit = 2 * len(self._tats) + STALE_MIN

    def put(self, name: str, tat_at: int, seq: int) -> None:
        """An operator has set the time under `name`."""
        if name in self._tats:
            self._tats[name] = (tat_at, seq)

    def move(self, delta_us: int, seq: int) -> None:
        """The clock has stepped."""
        if self._at:
            self._at += delta_us
            self._tats = {name: (tat_at + delta_us, seq) for name, (tat_at, _) in self._tats.items()}

    # --- facts ------------------------------------------------------------------------------------------------------------

    def facts(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """All that counts, CBOR-able, or all that counts of these names; {} where nothing was ever counted."""
        if not self._at:
            return {}
        at, tats = self._at, self._tats
        chosen = tats if names is None else [name for name in names if name in tats]
        return {"at": at, "tats": {name: list(tats[name]) for name in chosen if tats[name][0] > at}}

    def merge(self, facts: Mapping[str, Any] | None) -> None:
        """Take over what is younger than what is known here."""
        if not facts:
            return
        tats = self._tats
        for name, (tat_at, seq) in facts["tats"].items():
            entry = tats.get(name)
            if entry is None or seq >= entry[1]:
                tats[name] = (tat_at, seq)
        self._at = max(self._at, facts["at"])


__all__ = ["Tats"]

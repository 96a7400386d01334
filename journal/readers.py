"""LMDB's table of readers, which it tells as text."""

from __future__ import annotations


def readers_in(table: str, newest: int) -> tuple[int, int]:
    """How many read now, and the oldest transaction that one of them holds; `newest` if none does."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return len(rows), min((int(row[2]) for row in rows if len(row) == 3 and row[2].isdigit()), default=newest)


__all__ = ["readers_in"]

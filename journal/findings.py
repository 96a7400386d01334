"""What an examination finds: each damage with its place, a bounded list of them, and what they mean for whoever must act.

A flipped bit or byte can be located: of all changes of one bit, then of one byte, exactly one makes the checksum right again.  A crc over
some hundred bytes has one answer for a bit (32 bits against some thousand places) and almost always for a byte; the digest of a payload
leaves no doubt.  Tried for short values only, as the work grows with the square of the length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

LISTED: Final = 100
BITS: Final = 4_096  # bytes of a value in which one bit is looked for
BYTES: Final = 512  # and one byte


class Finding(NamedTuple):
    """One damage.  `seq`: of the record it concerns, where there is one.  `offset`: of the first wrong byte within the value, if known."""

    table: str  # EVENTS, PAYLOADS, ..., CHAIN, STATE, FILE
    text: str
    seq: int | None = None
    offset: int | None = None
    key: str | None = None  # in hex, where it is no seq


@dataclass
class Findings:
    """The first hundred, and how many of each table there are in all."""

    listed: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    tell: Callable[[Finding], Any] = lambda finding: None

    def add(self, finding: Finding) -> None:
        self.counts[finding.table] += 1
        if self.counts[finding.table] <= LISTED:
            self.listed.append(finding)
            self.tell(finding)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def mended(value: bytes, start: int, right: Callable[[bytes], bool]) -> tuple[int, bytes] | None:
    """(offset, value) of the one change of a bit, or of a byte, from `start` on that makes it `right`; None if not exactly one."""
    if len(value) > BITS:
        return None
    changes = [1 << bit for bit in range(8)]
    found = _tried(value, start, changes, right)
    if not found and len(value) <= BYTES:
        found = _tried(value, start, [change for change in range(1, 256) if change not in changes], right)
    return found[0] if len(found) == 1 else None


def _tried(value: bytes, start: int, changes: list[int], right: Callable[[bytes], bool]) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    draft = bytearray(value)
    for at in range(start, len(value)):
        for change in changes:
            draft[at] ^= change
            if right(bytes(draft)):
                found.append((at, bytes(draft)))
            draft[at] ^= change
    return found


# --- what to do ---------------------------------------------------------------------------------------------------------------

_TABLES_ONLY: Final = frozenset({"META", "LIVE", "TASKS", "BY_STATE", "BY_EXPIRY"})


def advice(counts: Counter[str] | dict[str, int], path: str) -> list[str]:
    """What can be saved, and what to do next: a sentence a line."""
    kinds = {kind for kind, count in counts.items() if count}
    if not kinds:
        return []
    lines = [f"Stop the engine, keep a copy of {path}, and check the disk and the memory of this machine before you trust either again."]
    if kinds <= _TABLES_ONLY:
        lines.append("All events and payloads are sound; only tables made from them are not. Nothing is lost:")
        lines.append(f"`journeyman repair {path} DEST` makes a new journal with these tables made anew.")
        return lines
    if "STATE" in kinds and kinds <= {"STATE"} | _TABLES_ONLY:
        lines.append(
            "Every record is sound, but they do not add up to the stored state: see `journeyman verify-code`, whose page says what"
        )
        lines.append("another version of the code would mean. If the code is the one that wrote it, please report this as a bug.")
        return lines
    if "CHAIN" in kinds:
        lines.append(
            "Records are whole but do not belong together: history was altered, or commits are missing. A backup is the better source."
        )
    if kinds & {"EVENTS", "PAYLOADS", "FILE"}:
        lines.append("A backup that passes `journeyman verify` is the better source if it is recent. Otherwise:")
    lines.append(f"`journeyman repair {path} DEST` saves every task whose records are all sound, and reports each one that is not.")
    return lines


__all__ = ["Finding", "Findings", "advice", "mended"]

"""What the outside world remembers: acknowledgements, and the trace that handlers left."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Acked:
    task: str
    queue: str
    handler: str
    n: int


@dataclass
class Acks:
    """What descriptor 77 said.  A last line without its end was never said."""

    tasks: dict[str, Acked] = field(default_factory=dict)
    cancels_asked: set[str] = field(default_factory=set)
    cancels_granted: set[str] = field(default_factory=set)
    boots: int = 0

    @classmethod
    def read(cls, raw: bytes) -> Acks:
        acks = cls()
        for line in raw[: raw.rfind(b"\n") + 1].decode().splitlines():
            word, *rest = line.split()
            if word == "A":
                acks.tasks[rest[0]] = Acked(rest[0], rest[1], rest[2], int(rest[3]))
            elif word == "c":
                acks.cancels_asked.add(rest[0])
            elif word == "C":
                acks.cancels_granted.add(rest[0])
            elif word == "R":
                acks.boots += 1
        return acks


FINAL = {"ok", "dead", "cancel"}
CUT_OFF = "(cut off)"  # ends a line in whose middle a process was killed: what it says did not happen


@dataclass
class TraceLog:
    """Handlers entered and left."""

    entered: list[tuple[str, int]] = field(default_factory=list)
    left: dict[str, list[tuple[int, str, float]]] = field(default_factory=lambda: defaultdict(list))
    size: int = 0

    @classmethod
    def read(cls, path: Path) -> TraceLog:
        log = cls()
        raw = path.read_bytes() if path.exists() else b""
        log.size = len(raw)
        for line in raw[: raw.rfind(b"\n") + 1].decode().splitlines():
            if line.endswith(CUT_OFF):
                continue
            word, task, attempt, *rest = line.split()
            if word == "E":
                log.entered.append((task, int(attempt)))
            else:
                log.left[task].append((int(attempt), rest[0], float(rest[1])))
        return log

    def twice(self) -> list[str]:
        """Attempts that were entered more than once, and attempt numbers that went back."""
        found: list[str] = []
        highest: dict[str, int] = {}
        for task, attempt in self.entered:
            before = highest.get(task, 0)
            if attempt == before:
                found.append(f"attempt {attempt} of {task} was entered twice")
            elif attempt < before:
                found.append(f"attempt {attempt} of {task} was entered after attempt {before}")
            highest[task] = max(before, attempt)
        return found

    def finished(self, task: str) -> float | None:
        """When the task's handler left for the last time, if that ended the task."""
        ends = [when for _, how, when in self.left.get(task, ()) if how in FINAL]
        return max(ends) if ends else None

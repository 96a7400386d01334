"""SIGKILL, again and again, on one journal under load; and at the places where it matters most.

The page cache outlives the process, so these kills prove the protocol (what is acknowledged when, what recovery makes of it), not the
disk: that is what power.py and replay.py are for.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from crash import programs
from crash.marks import MARKS
from crash.report import Progress, Report, Row

FILE_BOUND = 96 << 20  # bytes of data.mdb on disk, however often the program was killed
CHECK_EVERY = 10


@dataclass
class Patient:
    """One journal that is killed many times, with all that was ever acknowledged."""

    home: Path
    acks: bytearray = field(default_factory=bytearray)
    ready: int = 0  # boots that finished their recovery

    @property
    def journal(self) -> Path:
        return self.home / "journal"

    @property
    def trace(self) -> Path:
        return self.home / "trace"

    def start(self, *options: object, env: dict[str, str] | None = None) -> programs.Running:
        self.home.mkdir(parents=True, exist_ok=True)
        return programs.Running(programs.command("workload", self.journal, self.trace, *options), env=env)

    def take(self, running: programs.Running) -> bytes:
        """Its acknowledgements, whole lines only, kept."""
        raw = running.acks()
        whole = raw[: raw.rfind(b"\n") + 1]
        self.acks += whole
        running.close()
        return whole

    def check(self, *options: object, timeout: float = 180.0) -> str | None:
        """The common checker in a process of its own.  The violation, or None."""
        acks = self.home / "acks"
        acks.write_bytes(self.acks)
        ended = programs.run(programs.command("check", self.journal, "--acks", acks, "--trace", self.trace, *options), timeout=timeout)
        if ended.code == 0:
            return None
        if ended.code < 0:
            return f"the checker was {ended.how}: {ended.last_words}"
        return ended.out.strip().splitlines()[0][:300] if ended.out.strip() else ended.last_words


def at_random(row: Row, home: Path, rounds: int, chance: random.Random) -> None:
    """Kill at any moment, also while recovery of the last kill is still under way."""
    patient = Patient(home)
    bar = Progress("kill at random moments", rounds)
    in_recovery = 0
    for number in range(1, rounds + 1):
        running = patient.start("--seed", chance.randrange(1 << 30))
        if chance.random() < 0.15:  # within start and recovery
            time.sleep(chance.random() * 0.6)
        else:
            running.wait_word()
            time.sleep(chance.random() ** 2 * 0.8)
        running.kill()
        ended = running.ended()
        in_recovery += not patient.take(running)
        problem = None
        if ended.code != -9:
            problem = f"round {number}: the workload ended by itself ({ended.how}): {ended.last_words}"
        elif number % CHECK_EVERY == 0 or number == rounds:
            found = patient.check("--bound", FILE_BOUND)
            problem = f"round {number}: {found}" if found else None
        row.tried += 1
        bar.step(bad=problem is not None)
        if problem:
            row.problems.append(problem)
            if len(row.problems) >= 3:
                break
    bar.finish()
    size = (patient.journal / "data.mdb").stat().st_blocks * 512 if (patient.journal / "data.mdb").exists() else 0
    row.note = f"{patient.acks.count(b'A '):,} acknowledged, {in_recovery} killed before ready, file {size / 2**20:.1f} MiB"


# A grown map stays grown, so each round of these begins with a new journal.
_FRESH = ("grow", "grow-after")
_FIRST = {
    "before": 400,
    "after": 400,
    "handler": 200,
    "snapshot": 4,
    "snapshot-after": 4,
    "prune": 3,
    "prune-after": 3,
    "grow": 4,
    "grow-after": 4,
}


def at_mark(row: Row, home: Path, mark: str, rounds: int, chance: random.Random) -> None:
    """Die at the n-th commit, handler, growth ... of this kind, n drawn anew each round; check after each."""
    patient = Patient(home)
    bar = Progress(f"kill {MARKS[mark]}", rounds)
    for number in range(1, rounds + 1):
        if mark in _FRESH:
            patient = Patient(home / str(number))
        running = patient.start("--die", f"{mark}:{chance.randint(1, _FIRST[mark])}", "--seconds", 40, "--seed", chance.randrange(1 << 30))
        ended = running.ended(timeout=60)
        patient.take(running)
        problem: str | None
        if ended.code == -9:
            problem = patient.check()
            row.tried += 1
        else:
            problem = f"the mark was never reached: {ended.how}, {ended.last_words}"
        bar.step(bad=problem is not None)
        if problem:
            row.problems.append(f"round {number}: {problem}")
            if len(row.problems) >= 3:
                break
    bar.finish()


def run(report: Report, scratch: Path, *, quick: bool, chance: random.Random) -> None:
    with report.row("kill", "SIGKILL at random moments, one journal under load") as row:
        at_random(row, scratch / "random", 15 if quick else 220, chance)
    for mark, meaning in MARKS.items():
        with report.row("kill", f"SIGKILL {meaning}") as row:
            at_mark(row, scratch / mark, mark, 1 if quick else 8, chance)

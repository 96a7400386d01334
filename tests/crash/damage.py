"""Files that were cut, flipped, zeroed, swapped or removed, opened through the public door.

Allowed: the damage is outside what is used and everything acknowledged is there; or a JourneymanError that says what to do.
Not allowed: a dead interpreter, another exception, a hang, or a journal that opens and has silently lost or changed something.
Each case is a process of its own (`python -m crash.damage open ...` is that process): a truncated map kills by SIGBUS.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from crash import programs
from crash.kill import Patient
from crash.report import Progress, Report, Row

Change = Callable[[Path], None]


def cut(name: str, size: int) -> Change:
    return lambda home: os.truncate(home / name, size)


def flip(name: str, at: int, bit: int) -> Change:
    def change(home: Path) -> None:
        with open(home / name, "r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ (1 << bit)]))

    return change


def overwrite(name: str, at: int, data: bytes) -> Change:
    def change(home: Path) -> None:
        with open(home / name, "r+b") as file:
            file.seek(at)
            file.write(data)

    return change


def remove(name: str) -> Change:
    def change(home: Path) -> None:
        target = home / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()

    return change


def cases(home: Path, scale: float, chance: random.Random) -> Iterator[tuple[str, Change]]:
    """Everything that may have happened to the files."""
    data = home / "data.mdb"
    size = data.stat().st_size
    pages = size // 4096
    others = sorted(p.name for p in home.iterdir() if p.is_file() and p.name not in ("data.mdb", "ballast"))
    for length in sorted({0, 1, 100, 4095, 4096, 4097, 8191, 8192, 12288, size // 4 // 4096 * 4096, size // 2, size - 4096, size - 1}):
        yield f"data.mdb cut to {length} bytes", cut("data.mdb", length)
    for _ in range(int(12 * scale)):
        length = chance.randrange(size)
        yield f"data.mdb cut to {length} bytes", cut("data.mdb", length)
    for _ in range(int(60 * scale)):
        at, bit = chance.randrange(size), chance.randrange(8)
        yield f"bit {bit} of byte {at} flipped", flip("data.mdb", at, bit)
    for _ in range(int(40 * scale)):
        at = chance.randrange(pages) * 4096 + chance.randrange(32)
        yield f"page header byte {at} changed", overwrite("data.mdb", at, bytes([chance.randrange(256)]))
    for _ in range(int(20 * scale)):
        at, bit = chance.randrange(8192), chance.randrange(8)
        yield f"meta page bit {bit} of byte {at} flipped", flip("data.mdb", at, bit)
    for _ in range(int(20 * scale)):
        page, what = chance.randrange(2, pages), chance.choice((bytes(4096), chance.randbytes(4096)))
        yield f"page {page} {'zeroed' if what == bytes(4096) else 'filled with noise'}", overwrite("data.mdb", page * 4096, what)
    for _ in range(int(20 * scale)):
        a, b = chance.randrange(2, pages), chance.randrange(2, pages)
        content = data.read_bytes()[a * 4096 : (a + 1) * 4096]
        yield f"page {a} copied over page {b}", overwrite("data.mdb", b * 4096, content)
    if "wal" in others:
        log = (home / "wal").read_bytes().rstrip(b"\0")
        for _ in range(int(40 * scale)):
            at, bit = chance.randrange(len(log) + 64), chance.randrange(8)
            yield f"bit {bit} of byte {at} of wal flipped", flip("wal", at, bit)
        for _ in range(int(12 * scale)):
            length = chance.randrange(len(log) + 64)
            yield f"wal cut to {length} bytes", cut("wal", length)
    for name in [*others, "data.mdb"]:
        yield f"{name} removed", remove(name)
    for name in others:
        length = (home / name).stat().st_size
        if length:
            yield f"{name} emptied", cut(name, 0)
            yield f"{name} cut to half", cut(name, length // 2)
            yield f"{name} filled with noise", overwrite(name, 0, chance.randbytes(length))


def judge(ended: programs.Ended) -> str | None:
    """A violation, or None.  Exit 0: opened and all was there.  3: a clear error.  1: the checker found something."""
    if ended.code < 0:
        return f"{ended.how}: {ended.last_words}"
    if ended.code == 0:
        return None
    if ended.code == 3:
        words = ended.out.strip()
        return None if words.startswith("JourneymanError") and len(words) > 40 else f"the error says too little: {words!r}"
    return f"{ended.how}: {ended.out.strip().splitlines()[-1][:200] if ended.out.strip() else ended.last_words}"


def run(report: Report, scratch: Path, *, quick: bool, chance: random.Random) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    for stopped, what in (("", "clean"), ("after:600", "killed")):
        with report.row("damage", f"a {what} journal cut, flipped, overwritten, files removed") as row:
            everywhere(row, scratch / what, stopped, 0.25 if quick else 1.5, chance, most=30 if quick else 10_000)


def everywhere(row: Row, home: Path, stopped: str, scale: float, chance: random.Random, *, most: int) -> None:
    patient = Patient(home)
    running = patient.start("--seed", 3, "--pace", 0.1, *(("--seconds", 30, "--die", stopped) if stopped else ("--seconds", 2, "--drain")))
    ended = running.ended()
    patient.take(running)
    if ended.code != (-9 if stopped else 0):
        row.problems.append(f"the workload could not run: {ended.how}, {ended.last_words}")
        return
    acks = home / "acks"
    acks.write_bytes(patient.acks)
    todo = list(cases(patient.journal, scale, chance))
    todo = chance.sample(todo, min(most, len(todo)))
    bar = Progress(f"damage, {home.name} journal", len(todo))
    outcomes: Counter[str] = Counter()
    for text, change in todo:
        place = home / "damaged"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(patient.journal, place)
        shutil.copy(patient.trace, home / "trace-copy")
        change(place)
        ended = programs.run(programs.command("damage", "open", place, acks, home / "trace-copy"), timeout=90)
        problem = judge(ended)
        outcomes[{0: "harmless", 3: "clear error"}.get(ended.code, "violation")] += 1
        row.tried += 1
        bar.step(bad=problem is not None)
        if problem:
            row.problems.append(f"{text}: {problem}")
    bar.finish()
    row.note = ", ".join(f"{count} {what}" for what, count in outcomes.items())


def opened(place: str, acks: str, trace: str) -> int:
    """The process that opens what was damaged."""
    from crash.check import Check
    from crash.evidence import Acks
    from journeyman.engine import JourneymanError

    class DoorOnly(Check):
        def anatomy(self, when: str) -> None:
            """The bytes are known to be damaged; the question is what the door says."""

    checker = DoorOnly(place, Acks.read(Path(acks).read_bytes()), Path(trace))
    checker.damage_allowed = True
    try:
        problems = checker.run()
    except JourneymanError as error:
        print(f"JourneymanError {type(error).__name__}: {error}")
        return 3
    for problem in problems[:3]:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(opened(*sys.argv[2:5]))

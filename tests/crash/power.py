"""Power cuts on a real ext4, with a control group that has to fail.

The journal lives on a loop-mounted image; acknowledgements leave through a pipe and the handlers' trace lies on another disk, as
the outside world does.  At a random moment the file system is shut down without flushing its log, the program is killed, the image is
mounted again (ext4 replays its own journal, as after a reboot) and the checker looks.

Control group: the same program on the same engine, with LMDB opened without sync.  If power cuts do not hurt that one, they prove
nothing about the other, and the suite says so and fails.  A bare LMDB, safe and unsafe, is tried first: it calibrates the tool.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from crash import loopback, patients, programs, raw
from crash.kill import Patient
from crash.report import Progress, Report, Row

MOUNTS = ("commit=1", "commit=1,data=writeback", "commit=5,data=ordered", "commit=1,nobarrier")


def _bare(row: Row, volume: loopback.Volume, mode: str, rounds: int, chance: random.Random) -> int:
    """Cut the power under bare LMDB.  How often it was hurt."""
    hurt = 0
    bar = Progress(f"power cut, bare LMDB ({mode})", rounds)
    for _ in range(rounds):
        running = programs.Running(programs.command("raw", "write", volume.path / "raw", mode, 30))
        running.wait_word()
        time.sleep(0.1 + chance.random() * 0.4)
        volume.cut_power()
        running.kill()
        running.ended()
        acked = raw.last_ack(running.acks())
        running.close()
        volume.reboot()
        found = patients.in_child(lambda acked=acked: raw.violation(str(volume.path / "raw"), acked))  # type: ignore[misc]
        row.tried += 1
        hurt += found is not None
        bar.step(bad=found is not None and mode == "sync")
        if found:
            if mode == "sync":
                row.problems.append(found)
            volume.wipe("raw")
    bar.finish()
    return hurt


def cut(row: Row, patient: Patient, volume: loopback.Volume, chance: random.Random, *options: object) -> str | None:
    """One power cut under load and the check after it."""
    running = patient.start("--seed", chance.randrange(1 << 30), *options)
    if chance.random() < 0.1:  # within start and recovery
        time.sleep(chance.random() * 0.6)
    else:
        running.wait_word()
        time.sleep(chance.random() ** 2 * 1.2)
    volume.cut_power()
    running.kill()
    ended = running.ended()
    patient.take(running)
    volume.reboot()
    row.tried += 1
    if ended.code != -9 and "rror" not in ended.last_words:
        return f"the workload ended by itself ({ended.how}): {ended.last_words}"
    return patient.check()


class _Elsewhere(Patient):
    """Journal on the disk that loses its power, everything else off it."""

    disk: Path

    @property
    def journal(self) -> Path:
        return self.disk / "journal"


def _patient(home: Path, volume: loopback.Volume) -> Patient:
    patient = _Elsewhere(home)
    patient.disk = volume.path
    return patient


def engine(row: Row, scratch: Path, rounds: int, chance: random.Random) -> None:
    bar = Progress("power cuts under the engine", rounds)
    shares = [rounds // len(MOUNTS) + (n < rounds % len(MOUNTS)) for n in range(len(MOUNTS))]
    said = 0
    for number, (options, share) in enumerate(zip(MOUNTS, shares, strict=True)):
        with loopback.Volume(scratch, options=options) as volume:
            patient = _patient(scratch / f"outside{number}", volume)
            for _ in range(share):
                problem = cut(row, patient, volume, chance)
                bar.step(bad=problem is not None)
                if problem:
                    row.problems.append(f"{options}: {problem}")
                    break
            said += patient.acks.count(b"A ")
    bar.finish()
    row.note = f"{said:,} acknowledged; mounts {', '.join(MOUNTS)}"


def control(row: Row, scratch: Path, rounds: int, chance: random.Random) -> None:
    """The unsafe twin.  It is hurt, or nothing was proved."""
    bar = Progress("power cuts, control without sync", rounds)
    hurt: list[str] = []
    with loopback.Volume(scratch) as volume:
        for number in range(rounds):
            patient = _patient(scratch / f"control{number}", volume)
            problem = cut(row, patient, volume, chance, "--unsafe")
            bar.step()
            if problem and "ended by itself" in problem:
                row.problems.append(problem)
            elif problem and b"A " in patient.acks:
                hurt.append(problem)
            volume.wipe("journal")
    bar.finish()
    row.note = f"{len(hurt)} of {rounds} lost data or were damaged, as they must"
    if not hurt and not row.problems:
        row.problems.append("the control group without sync survived every power cut: these cuts prove nothing")


def run(report: Report, scratch: Path, *, quick: bool, chance: random.Random) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    with report.row("power", "calibration: bare LMDB, with sync and without") as row:
        with loopback.Volume(scratch) as volume:
            _bare(row, volume, "sync", 2 if quick else 5, chance)
        with loopback.Volume(scratch) as volume:
            hurt = _bare(row, volume, "nosync", 2 if quick else 5, chance)
        row.note = f"without sync {hurt} hurt, as they must"
        if not hurt:
            row.problems.append("bare LMDB without sync survived every cut: the cuts prove nothing")
    with report.row("power", "control group: the engine on LMDB without sync") as row:
        control(row, scratch / "control", 3 if quick else 6, chance)
    with report.row("power", "power cuts under the engine") as row:
        engine(row, scratch / "engine", 6 if quick else 56, chance)

"""Every write recorded, then every disk tried that a crash between any two of them could leave (states.py says which).

The workload runs once under the recorder (shim.c).  Its log is walked, and at many points several possible disks are laid out and opened,
each in a forked child.  Most get the light check (through the public door: recovery, every acknowledged task, a new task runs to its
end); one in forty gets the whole one.  Two logs are used: one that begins with an empty directory, so that creation is torn too, and
one that begins on a journal with a past, with snapshots and prunes.

Control group: the same workload with LMDB opened without sync must yield states that the check rejects.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from crash import patients, programs, raw, shim
from crash.kill import Patient
from crash.report import Progress, Report, Row
from crash.states import Disk, State

FULL_EVERY = 40


def fast_directory(scratch: Path) -> Path:
    """Where states are laid out: memory, when there is any."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="crash-", dir=memory if memory.is_dir() else scratch))


def record(patient: Patient, library: Path, log: Path, *options: object) -> tuple[list[shim.Op], programs.Ended]:
    """Run the workload under the recorder."""
    patient.home.mkdir(parents=True, exist_ok=True)
    argv = programs.command("workload", patient.journal, "-", *options)
    ended = programs.run(argv, env=shim.loaded(library, match=str(patient.journal), log=log), timeout=120)
    return list(shim.read_log(log)), ended


def try_states(
    row: Row,
    label: str,
    ops: list[shim.Op],
    root: str,
    start: dict[str, bytes],
    target: int,
    chance: random.Random,
    verdict: Callable[[State, Path, bool], str | None],
    *,
    stop_after: int = 5,
) -> Counter[str]:
    """Lay out about `target` states over the whole log and judge each.  Violations by text."""
    disk = Disk(root, start)
    points = sum(op.kind != "A" for op in ops)
    per_point = max(2, min(12, target // max(points, 1) + 1))
    keep = min(1.0, target / max(points * per_point, 1))
    bar = Progress(label, target)
    found: Counter[str] = Counter()
    home = fast_directory(Path(root).parent)
    try:
        for point, op in enumerate(ops):
            if not disk.feed(op) or chance.random() > keep:
                continue
            for state in disk.states(point, chance, per_point):
                place = home / "state"
                shutil.rmtree(place, ignore_errors=True)
                state.write(place / "journal")
                problem = verdict(state, place, row.tried % FULL_EVERY == 0)
                row.tried += 1
                bar.step(bad=problem is not None and stop_after < 10**6)
                if problem:
                    found[f"after operation {point} ({op.kind}), {state.variant}: {problem}"] += 1
            if len(found) >= stop_after:
                break
    finally:
        shutil.rmtree(home, ignore_errors=True)
    bar.finish()
    return found


def warm() -> None:
    """Import everything once, here, so that no forked child has to."""
    import cbor2  # noqa: F401
    import lmdb  # noqa: F401
    import trio  # noqa: F401

    import crash.check  # noqa: F401


def engine_verdict(acks: bytes, trace: bytes) -> Callable[[State, Path, bool], str | None]:
    """Judge by the common checker.  `acks`, `trace`: what the outside world knew before the recording began."""
    warm()

    def judge(state: State, place: Path, full: bool) -> str | None:
        from crash.check import check

        said, seen = split(state.acks)
        (place / "trace").write_bytes(trace + seen)
        return patients.in_child(lambda: check(str(place / "journal"), acks + said, place / "trace", light=not full), seconds=60)

    return judge


def split(words: bytes) -> tuple[bytes, bytes]:
    """Acknowledgements, and the trace of the handlers, which a recorded run sends down the same descriptor so that all have one order."""
    lines = words.splitlines(keepends=True)
    return b"".join(line for line in lines if line[:1] not in b"EX"), b"".join(line for line in lines if line[:1] in b"EX")


def files_of(directory: Path) -> dict[str, bytes]:
    """What a journal's directory holds.  LMDB's lock file means nothing after a reboot."""
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file() and p.name != "lock.mdb"}


def _recorded(
    row: Row, scratch: Path, library: Path, target: int, chance: random.Random, *, past: bool, unsafe: bool = False
) -> Counter[str]:
    patient = Patient(scratch / ("unsafe" if unsafe else "past" if past else "fresh"))
    start: dict[str, bytes] = {}
    if past:
        running = patient.start("--seconds", 0.8, "--drain", "--seed", 5)
        ended = running.ended()
        patient.take(running)
        if ended.code:
            row.problems.append(f"the workload could not run: {ended.how}, {ended.last_words}")
            return Counter()
        start = files_of(patient.journal)
    log = scratch / f"{patient.home.name}.log"
    options: list[object] = ["--seconds", 1.2 if target > 500 else 0.7, "--seed", 7, "--pace", 0.2, "--producers", 2]
    ops, ended = record(patient, library, log, *options, *(["--unsafe"] if unsafe else []))
    if ended.code:
        row.problems.append(f"the workload could not run under the recorder: {ended.how}, {ended.last_words}")
        return Counter()
    kinds = Counter(op.kind for op in ops)
    label = "replay, no sync (control)" if unsafe else "replay, journal with a past" if past else "replay, from creation on"
    trace = patient.trace.read_bytes() if past else b""
    found = try_states(
        row, label, ops, str(patient.journal), start, target, chance, engine_verdict(bytes(patient.acks), trace),
        stop_after=10**6 if unsafe else 5,
    )  # fmt: skip
    row.note = f"recorded {kinds['W']} writes, {kinds['S']} syncs, {kinds['D']} synced writes, {kinds['A']} words"
    return found


def bare(row: Row, scratch: Path, library: Path, mode: str, target: int, chance: random.Random) -> Counter[str]:
    """Calibration on bare LMDB, from an existing database on (LMDB does not promise an atomic creation)."""
    home = scratch / mode / "raw"
    home.parent.mkdir(parents=True, exist_ok=True)
    programs.run(programs.command("raw", "write", home, "sync", 0.05))
    start = files_of(home)
    log = scratch / f"raw-{mode}.log"
    programs.run(programs.command("raw", "write", home, mode, 0.2), env=shim.loaded(library, match=str(home), log=log))
    ops = list(shim.read_log(log))

    def judge(state: State, place: Path, _full: bool) -> str | None:
        return patients.in_child(lambda: raw.violation(str(place / "journal"), raw.last_ack(state.acks)))

    return try_states(row, f"replay, bare LMDB ({mode})", ops[:600], str(home), start, target, chance, judge, stop_after=10**6)


def run(report: Report, scratch: Path, *, quick: bool, chance: random.Random) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    with report.row("replay", "calibration: bare LMDB, with sync and without") as row:
        library = shim.build(scratch)
        row.problems += list(bare(row, scratch, library, "sync", 60 if quick else 200, chance))
        hurt = bare(row, scratch, library, "nosync", 60 if quick else 200, chance)
        row.note = f"without sync {hurt.total()} states hurt, as they must"
        if not hurt:
            row.problems.append("no state of bare LMDB without sync was hurt: the states prove nothing")
    with report.row("replay", "control group: the engine on LMDB without sync") as row:
        hurt = _recorded(row, scratch, shim.build(scratch), 40 if quick else 120, chance, past=False, unsafe=True)
        row.note = f"{hurt.total()} states hurt, as they must"
        if not hurt and not row.problems:
            row.problems.append("no state of the engine without sync was hurt: the states prove nothing")
    for past, what in ((False, "crash states from the creation of a journal on"), (True, "crash states of a journal with a past")):
        with report.row("replay", what) as row:
            row.problems += list(_recorded(row, scratch, shim.build(scratch), 70 if quick else 1200, chance, past=past))

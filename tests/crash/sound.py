"""The checker on trial: healthy evidence must pass, and each planted violation must be found.

A checker that finds nothing in good journals may be good or blind.  Here the workload runs undisturbed once; then one thing
at a time is made wrong (a task acknowledged that never existed, an attempt entered twice, a record changed, removed, or moved) and the
checker has to say so.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from crash.kill import Patient
from crash.report import Progress, Report, Row


def _acknowledged_only(patient: Patient) -> None:
    patient.acks += b"A 01900000-0000-7000-8000-000000000000 mail send 3\n"


def _entered_twice(patient: Patient) -> None:
    lines = patient.trace.read_text().splitlines(keepends=True)
    patient.trace.write_text("".join([*lines, next(line for line in reversed(lines) if line.startswith("E"))]))


def _records(patient: Patient, change: Callable[[dict[int, bytes]], None]) -> None:
    import lmdb

    env = lmdb.open(str(patient.journal), max_dbs=32, map_size=1 << 30)
    with env.begin(write=True) as txn:
        table = env.open_db(b"events", txn=txn, create=False)
        with txn.cursor(table) as cursor:
            before = {int.from_bytes(k, "big"): bytes(v) for k, v in cursor}
        after = dict(before)
        change(after)
        for seq in before.keys() - after.keys():
            txn.delete(seq.to_bytes(8, "big"), db=table)
        for seq, raw in after.items():
            if before.get(seq) != raw:
                txn.put(seq.to_bytes(8, "big"), raw, db=table)
    env.close()


def _middle(records: dict[int, bytes]) -> int:
    return sorted(records)[len(records) // 2]


def _flipped(records: dict[int, bytes]) -> None:
    seq = _middle(records)
    raw = bytearray(records[seq])
    raw[-3] ^= 4
    records[seq] = bytes(raw)


def _removed(records: dict[int, bytes]) -> None:
    del records[_middle(records)]


def _end_removed(records: dict[int, bytes]) -> None:
    """The last record of some commit of several."""
    firsts = [seq for seq in sorted(records) if records[seq][2] & 1]
    del records[max(seq for seq in records if records[seq][2] == 2 and seq < firsts[-1])]


def _moved(records: dict[int, bytes]) -> None:
    a = _middle(records)
    b = next(seq for seq in sorted(records) if seq > a)
    records[a], records[b] = records[b], records[a]


def _twenty_removed(patient: Patient) -> None:
    """A task that was kept for ever is deleted with all its records, as by a prune that says nothing."""

    def change(records: dict[int, bytes]) -> None:
        for seq in sorted(records)[10:30]:
            del records[seq]

    _records(patient, change)


TORN = b"E 01a20485-da27-71b4-a135-db9ddf96588"

PLANTED: dict[str, Callable[[Patient], None]] = {
    "an acknowledged task that does not exist": _acknowledged_only,
    "an attempt entered twice": _entered_twice,
    "a bit of a record flipped": lambda patient: _records(patient, _flipped),
    "a record removed": lambda patient: _records(patient, _removed),
    "the end of a commit removed": lambda patient: _records(patient, _end_removed),
    "two records exchanged": lambda patient: _records(patient, _moved),
    "twenty records gone without a word": _twenty_removed,
}


def run(report: Report, scratch: Path, *, quick: bool, chance: random.Random) -> None:
    with report.row("sound", "the checker finds what was planted, and nothing else") as row:
        _run(row, scratch)


def _run(row: Row, scratch: Path) -> None:
    patient = Patient(scratch / "healthy")
    patient.trace.parent.mkdir(parents=True, exist_ok=True)
    patient.trace.write_bytes(TORN)  # healthy as well: a process was killed in the middle of a line
    running = patient.start("--seconds", 1.5, "--seed", 11, "--die", "after:900")
    ended = running.ended()
    patient.take(running)
    bar = Progress("the checker itself", len(PLANTED) + 1)
    if ended.code not in (0, -9):
        row.problems.append(f"the workload could not run: {ended.how}, {ended.last_words}")
        return
    for what, plant in {"nothing": lambda _: None, **PLANTED}.items():
        sick = Patient(scratch / "sick", acks=bytearray(patient.acks))
        shutil.rmtree(sick.home, ignore_errors=True)
        shutil.copytree(patient.home, sick.home)
        plant(sick)
        found = sick.check()
        row.tried += 1
        if what == "nothing" and found:
            row.problems.append(f"a healthy journal was complained about: {found}")
        elif what != "nothing" and not found:
            row.problems.append(f"planted, and not found: {what}")
        bar.step(bad=bool(row.problems))
    bar.finish()

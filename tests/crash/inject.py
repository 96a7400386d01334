"""The n-th write, sync or meta write fails, for each public operation; and a small disk that is really full, and later is not.

The cases run in trial.py, in one warm process under the shim; each in a forked child, each followed by the checker on what is left.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from pathlib import Path

from crash import loopback, programs, shim
from crash.report import Progress, Report, Row

_CASES = 650  # about how many there are, for the progress bar


def failing_calls(row: Row, scratch: Path, share: float, chance: random.Random) -> None:
    library = shim.build(scratch)
    home = scratch / "trials"
    home.mkdir(parents=True, exist_ok=True)
    argv = programs.command("trial", home, "--share", share, "--seed", chance.randrange(1 << 30))
    env = programs.environment(shim.loaded(library, match=str(home / "patient" / "journal")))
    bar = Progress("failing calls", int(_CASES * share))
    outcomes: Counter[str] = Counter()
    ended = False
    with (
        open(scratch / "trial.err", "w+b") as words,
        subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=words, text=True) as program,
    ):
        assert program.stdout is not None
        for line in program.stdout:
            said = json.loads(line)
            if said.get("end"):
                ended = True
                break
            row.tried += 1
            outcomes[(said["told"] or "dead").split(":")[0] if said["hit"] else "not reached"] += 1
            if said["problem"]:
                row.problems.append(f"{said['text']}: {said['problem']}")
            bar.step(bad=bool(said["problem"]))
        program.wait()
        words.seek(0)
        if not ended:
            row.problems.append(f"the trials broke off: {words.read().decode(errors='replace').strip()[-300:]}")
    bar.finish()
    row.note = ", ".join(f"{count} {what}" for what, count in outcomes.most_common())


def full_disk(row: Row, scratch: Path, kind: str) -> None:
    """A disk of 64 MiB, filled by somebody else while the engine works, more or less, and freed again."""
    notes = []
    for left in (8 << 20, 3 << 19, 0):
        with loopback.Volume(scratch, size=64, kind=kind) as volume:
            ended = programs.run(programs.command("fullness", volume.path, scratch / f"trace-{left}", left), timeout=180)
        lines = ended.out.strip().splitlines()
        row.tried += 1
        if ended.code == 0:
            notes.append(f"{left / 2**20:g} MiB left: {lines[-1]}")
        else:
            row.problems.append(f"{left / 2**20:g} MiB left, {ended.how}: {lines[-1] if lines else ended.last_words}")
    row.note = "; ".join(notes)


def run(report: Report, scratch: Path, *, quick: bool, chance: random.Random) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    with report.row("inject", "the n-th call fails, for each public operation") as row:
        failing_calls(row, scratch, 0.1 if quick else 1.0, chance)
    for kind in ("tmpfs",) if quick else ("tmpfs", "ext4"):
        with report.row("inject", f"a full disk that later frees ({kind})") as row:
            full_disk(row, scratch / kind, kind)

"""`make demo`: a fixity check over thousands of files, killed with SIGKILL half way and started again.

Nothing here is staged inside the engine: `examples/fixity.py` is run as anybody would run it, the operating system kills it,
and the proof comes from three independent witnesses: the journal's own history of every task, a trace file that the handlers
write outside the journal, and sha256sum(1).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import trio
from fixity import files_below

from journeyman.engine import Engine

FIXITY = Path(__file__).with_name("fixity.py")
LIBRARY = os.path.dirname(os.__file__)
# Installed packages and caches may change while we look; the library's sources do not.
EXCLUDE = ("site-packages", "dist-packages", "__pycache__")
KILL_AT = 0.45  # of the files
PATIENCE = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Place:
    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def manifest(self) -> Path:
        return self.root / "MANIFEST.sha256"

    @property
    def trace(self) -> Path:
        return self.root / "trace"

    def command(self) -> list[str]:
        skip = [word for name in EXCLUDE for word in ("--exclude", name)]
        where = ["--journal", str(self.journal), "--manifest", str(self.manifest), "--trace", str(self.trace)]
        return [sys.executable, "-B", str(FIXITY), LIBRARY, *skip, *where]


class DemoFailed(Exception):
    pass


def say(step: str, text: str) -> None:
    print(f"{step:>3}  {text}", flush=True)


def demand(true: bool, what: str) -> None:
    if not true:
        raise DemoFailed(what)


def files_in_library() -> int:
    return sum(1 for _ in files_below(os.fsencode(LIBRARY), map(os.fsencode, EXCLUDE)))


def begin_and_kill(place: Place, files: int) -> int:
    """Start the check, kill it when enough files were begun; the process id that died."""
    child = subprocess.Popen(place.command())
    enough = int(files * KILL_AT)
    until = time.monotonic() + PATIENCE
    while child.poll() is None and time.monotonic() < until:
        if place.trace.exists() and place.trace.read_bytes().count(b"\n") >= enough:
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    code = child.wait()
    demand(code == -signal.SIGKILL, f"it should have died of SIGKILL half way, but ended with {code}")
    return child.pid


def run_again(place: Place) -> int:
    """Start the check again with the same arguments and let it finish; its process id."""
    child = subprocess.Popen(place.command())
    code = child.wait(timeout=PATIENCE)
    demand(code == 0, f"the second run ended with {code}")
    return child.pid


def verify_manifest(place: Place, files: int) -> None:
    lines = place.manifest.read_bytes().count(b"\n")
    demand(lines == files, f"the manifest has {lines:,} lines for {files:,} files")
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "--strict", str(place.manifest)], check=False)
    demand(checked.returncode == 0, "sha256sum -c found a difference")


@dataclass(slots=True)
class Witness:
    """What the journal says: ids by the boot (queue epoch) that recorded their success, and every start of a run."""

    recorded: dict[str, int]
    starts: dict[str, list[int]]
    ends_before_start: list[str]


async def ask_journal(journal: Path) -> Witness:
    """Read every task's own life from the journal, with an engine that has no handlers and so runs nothing."""
    witness = Witness({}, {}, [])
    async with Engine(journal) as engine:
        page = await engine.list(queue="fixity", limit=500)
        while page:
            for task in page:
                await hear(engine, task.id, witness)
            page = await engine.list(queue="fixity", limit=500, before=page[-1])
    return witness


async def hear(engine: Engine, task: str, witness: Witness) -> None:
    ended = False
    for event in await engine.history(task):
        if event.kind == "AttemptStarted":
            witness.starts.setdefault(task, []).append(event.epoch)
            if ended:
                witness.ends_before_start.append(task)
        elif event.kind == "TaskSucceeded":
            demand(task not in witness.recorded, f"task {task} was recorded twice")
            witness.recorded[task] = event.epoch
            ended = True


def examine(place: Place, witness: Witness, files: int, killed: int, second: int) -> None:
    epochs = sorted(set(witness.recorded.values()))
    demand(len(witness.recorded) == files, f"{len(witness.recorded):,} of {files:,} files are recorded")
    demand(len(epochs) == 2, f"successes were recorded in epochs {epochs}, not in two")
    before = {task for task, epoch in witness.recorded.items() if epoch == epochs[0]}
    hashed: dict[int, Counter[str]] = {killed: Counter(), second: Counter()}
    for line in place.trace.read_text().splitlines():
        process, task = line.split()
        hashed[int(process)][task] += 1
    again = before & hashed[second].keys()
    cut_short = [task for task in hashed[killed] if task not in before]

    say("", f"recorded before the kill:        {len(before):>7,}  ({len(before) / files:.0%})")
    say("", f"being hashed at the kill:        {len(cut_short):>7,}  (begun, not recorded: hashed again, as they must be)")
    say("", f"hashed by the second run:        {len(hashed[second]):>7,}")
    say("", f"recorded, then hashed again:     {len(again):>7,}")
    demand(bool(before), "nothing was recorded before the kill")
    demand(not again, f"{len(again)} files were hashed again after they had been recorded")
    demand(not witness.ends_before_start, "the journal shows a start after a success")
    demand(max(hashed[second].values()) == 1, "the second run hashed a file twice")
    demand(before | hashed[second].keys() == witness.recorded.keys(), "the trace and the journal disagree on what was hashed")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="journeyman-demo-") as root:
        place = Place(Path(root))
        files = files_in_library()
        try:
            say("1.", f"checksums of Python's own library, {files:,} files; SIGKILL comes when {KILL_AT:.0%} are begun")
            killed = begin_and_kill(place, files)
            say("2.", f"process {killed} was killed; no cleanup ran.  The same command again:")
            second = run_again(place)
            say("3.", "sha256sum --check on the manifest:")
            verify_manifest(place, files)
            say("", f"all {files:,} lines hold")
            say("4.", "what the journal and an outside trace say:")
            examine(place, trio.run(ask_journal, place.journal), files, killed, second)
        except DemoFailed as failed:
            print(f"\nthe demo FAILED: {failed}", file=sys.stderr)
            return 1
    say("", "nothing was lost, and nothing that had been recorded was done twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())

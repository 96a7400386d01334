"""A journal of many events, made quickly, to try the tools on: `python bench/big_journal.py PATH [--events 10_000_000]`.

Not by an engine (that takes the better part of an hour) but by the same hands: events are folded, sealed by `Journal.seal` in large
commits, and checkpointed every 300,000 events, so rows, indexes and tally are as an engine leaves them.  Four queues; of a hundred tasks
ninety succeed at once, six after a failure, three are dead letters, one is cancelled; the last thousand wait.  One task in three has
arguments that stay.  `--measure` runs the tools on it, each in a process of its own, and prints events a second and peak memory.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.progress import Progress

from journeyman.journal import open_journal
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import open_store
from journeyman.journal.recovery import recover
from journeyman.kernel.events import (
    AttemptFailed,
    AttemptStarted,
    EngineBooted,
    EngineClosed,
    Event,
    QueueConfigured,
    QueueOpened,
    TaskCancelled,
    TaskFailed,
    TaskSubmitted,
    TaskSucceeded,
)
from journeyman.kernel.policy import Policy
from journeyman.kernel.world import fold

START = 1_763_000_000_000_000
COMMIT = 6_000  # events
CHECKPOINT = 300_000
QUEUES = ("mail", "reports", "thumbnails", "webhooks")
ARGUMENTS = b"\x82\x80\xa2\x62to\x6fa@b.example.org\x66number\x18\x2a"
DIGEST = hashlib.blake2b(ARGUMENTS, digest_size=16).digest()
FORMATS = ("jsonl", "cbor", "parquet")
COPIES = (*(f"export {form}" for form in FORMATS), *(f"import {form}" for form in FORMATS), "backup", "compact")
MEASURED = ("verify", "replay", "verify-code", "stats", *COPIES)
ERROR = ("ConnectionError", "no answer", "Traceback (most recent call last):\n  ...", ["ConnectionError", "OSError", "Exception"])


class Maker:
    """Makes lives of tasks; knows each queue's own numbers."""

    def __init__(self) -> None:
        self.at = START
        self.qseqs = dict.fromkeys(QUEUES, 0)
        self.tasks = 0

    def head(self, queue: str) -> tuple[int, str, int, int]:
        self.qseqs[queue] += 1
        return self.at, queue, self.qseqs[queue], 1

    def first(self) -> Iterator[Event]:
        yield EngineBooted(self.at, "", 0, 1, {"version": "bench", "pid": os.getpid()})
        for queue in QUEUES:
            yield QueueOpened(*self.head(queue), 1)
            yield QueueConfigured(*self.head(queue), Policy().facts(), "program")

    def submitted(self, queue: str, id: bytes) -> TaskSubmitted:
        self.tasks += 1
        return TaskSubmitted(*self.head(queue), id, "send", 5, self.at, 0, len(ARGUMENTS), DIGEST, 0)

    def lives(self, count: int) -> Iterator[Event]:
        """`count` tasks, as they come: all submitted, all started, all ended."""
        self.at += 40 * count
        batch = [(QUEUES[(self.tasks + n) % 4], (self.at + n).to_bytes(8, "big") + os.urandom(8), self.tasks + n) for n in range(count)]
        yield from (self.submitted(queue, id) for queue, id, _ in batch)
        yield from (AttemptStarted(*self.head(queue), id, 1, 1, 0, self.at) for queue, id, _ in batch)
        again = []
        for queue, id, n in batch:
            chance = n % 100
            if chance < 6:
                again.append((queue, id))
                yield AttemptFailed(*self.head(queue), id, 1, 900, 1, self.at, ERROR)
            elif chance < 9:
                yield TaskFailed(*self.head(queue), id, 1, 900, 1, 0, None, True, ERROR, "attempts")
            elif chance < 10:
                yield TaskCancelled(*self.head(queue), id, 1, 900, None, True, "no longer wanted", "ops")
            else:
                yield TaskSucceeded(*self.head(queue), id, 1, 900, None, n % 3 == 0, 0, b"", 0)
        yield from (AttemptStarted(*self.head(queue), id, 2, 1, 0, self.at) for queue, id in again)
        yield from (TaskSucceeded(*self.head(queue), id, 2, 700, None, True, 0, b"", 0) for queue, id in again)


def make(path: Path, events: int) -> None:
    """A journal of about so many events."""
    store = open_store(path, durability="relaxed")
    opened = recover(store)
    state, journal, checkpoint = opened.state, opened.journal, opened.checkpoint
    maker = Maker()

    def seal(found: Iterator[Event]) -> None:
        items = list(enumerate(found, journal.next_seq))
        journal.take(len(items))
        payloads, drops, submits = [], [], {}
        for seq, event in items:
            fold(state, event, seq)
            if type(event) is TaskSubmitted:
                payloads.append((seq, ARGUMENTS))
                submits[event.task] = seq
            elif type(event) is TaskSucceeded and not event.keep_payload:
                drops.append(submits[event.task])
        append_now(store, journal.seal(items, payloads, drops))

    def take_checkpoint() -> None:
        checkpoint.begin(state, journal.sealed, maker.at)
        while (chunk := checkpoint.next_chunk(20_000)) is not None:
            if chunk:
                append_now(store, journal.seal((), extra=chunk))

    seal(maker.first())
    with Progress() as progress:
        bar = progress.add_task("making events", total=events)
        while journal.sealed < events - 3_000:
            seal(maker.lives(COMMIT // 3))
            if journal.sealed - checkpoint.through_seq >= CHECKPOINT:
                take_checkpoint()
            progress.update(bar, completed=journal.sealed)
    seal(maker.submitted(QUEUES[n % 4], os.urandom(16)) for n in range(1_000))
    take_checkpoint()
    seal(iter([EngineClosed(maker.at, "", 0, 1)]))
    store.close()


def measure(path: Path, commands: list[str], events: int) -> None:
    """Each command in a process of its own, with the child that reads.  Memory is what they hold themselves: the pages of the map that the
    system keeps for them go when something else wants the room."""
    for words in commands:
        with tempfile.TemporaryDirectory(prefix="carried-", dir=path.parent) as scratch:
            command = [sys.executable, "-m", "journeyman", *call(words, path, Path(scratch))]
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            ran = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            peak = 0
            while ran.poll() is None:
                peak = max(peak, held(ran.pid))
                time.sleep(0.2)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{words:14} exit {ran.returncode}  {seconds:6.0f} s, {events / seconds:9,.0f} events/s  "
            f"{cpu:6.0f} s of processor, {events / cpu:9,.0f} events/s  {peak // 1024} MiB",
            flush=True,
        )


def call(words: str, path: Path, scratch: Path) -> list[str]:
    """The arguments of one command: `export FORMAT`, `import FORMAT`, `backup`, or any that takes a journal alone."""
    name, *rest = words.split()
    if name == "backup":
        return [name, str(path), str(scratch / "copy")]
    if name not in ("export", "import"):
        return [name, *rest, str(path)]
    file = scratch / f"jobs.{rest[0]}"
    export = ["export", str(path), str(file), "--reveal"]
    if name == "export":
        return export
    subprocess.run([sys.executable, "-m", "journeyman", *export], check=True, capture_output=True)
    return [name, str(file), str(scratch / "copy")]


def held(pid: int) -> int:
    """KiB of its own that a process and its children hold."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
    return own + sum(held(int(child)) for child in children)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--measure", nargs="*", metavar="COMMAND", help=f"run these (default: {', '.join(MEASURED)})")
    given = parser.parse_args()
    if not (given.path / "data.mdb").exists():
        started = time.perf_counter()
        make(given.path, given.events)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"made in {seconds:.0f} s, {given.events / seconds:,.0f} events/s, peak {peak} MiB")
    if given.measure is not None:
        with open_journal(given.path) as journal:
            events = journal.last_seq
        measure(given.path, given.measure or [*MEASURED], events)


if __name__ == "__main__":
    main()

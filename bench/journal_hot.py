"""The journal's own speed, without an engine: seal, store, replay, checkpoint, open with a backlog, prune.

    python bench/journal_hot.py [--tasks 60000] [--backlog 200000] [--directory DIR]

Prints one line a figure: name, rate or time (best of three where it can be repeated).  Every commit is synced.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from journeyman.journal.log import Journal
from journeyman.journal.migrate import append_now
from journeyman.journal.opening import open_store
from journeyman.journal.prune import Pruner
from journeyman.journal.record import GENESIS, Chain, encode_commit
from journeyman.journal.recovery import recover
from journeyman.journal.store import Batch, Store
from journeyman.kernel.events import AttemptStarted, Event, TaskSubmitted, TaskSucceeded
from journeyman.kernel.world import JournalState, fold

START = 1_763_000_000_000_000
BATCH = 1_000


def life(n: int, kept_us: int = 3_600_000_000) -> list[Event]:
    """Three events of task `n`."""
    at, id = START + n, n.to_bytes(8, "big") + os.urandom(8)
    return [
        TaskSubmitted(at, "mail", 3 * n + 1, 7, id, "send", 5, at, 0, 40, id, 0),
        AttemptStarted(at + 50, "mail", 3 * n + 2, 7, id, 1, 1, 0, at),
        TaskSucceeded(at + 90, "mail", 3 * n + 3, 7, id, 1, 500, at + kept_us, True, 0, b"", 0),
    ]


def report(name: str, figure: str) -> None:
    print(f"{name:58} {figure:>16}", flush=True)


def best(run: Callable[[], object], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        gc.collect()
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def in_commits(events: Sequence[Event], size: int = BATCH) -> list[list[tuple[int, Event]]]:
    return [list(enumerate(events[at : at + size], at + 1)) for at in range(0, len(events), size)]


def measure_log(path: Path, tasks: int) -> None:
    events = [event for n in range(tasks) for event in life(n)]
    commits = in_commits(events)
    batches: list[Batch] = []

    def seal() -> None:
        journal = Journal(store)
        batches[:] = [journal.seal(items) for items in commits]

    store = open_store(path)
    report(f"seal, {BATCH} events a commit", f"{len(events) / best(seal):,.0f} /s")
    triples = in_commits(events[:30_000], 3)

    def seal_small() -> None:
        head = GENESIS
        for items in triples:
            _, head = encode_commit(items, head)

    report("seal, 3 events a commit", f"{30_000 / best(seal_small):,.0f} /s")
    started = time.perf_counter()
    for batch in batches[:-1]:
        store.begin_append(batch, lambda failure: None)
    append_now(store, batches[-1])
    report("store, synced", f"{len(events) / (time.perf_counter() - started):,.0f} /s")

    journal = Journal(store)

    def read() -> None:
        chain = Chain(1, GENESIS)
        for _ in journal.walk(1, len(events), chain):
            pass
        chain.finish()

    report("read: scan, crc, chain, decode", f"{len(events) / best(read):,.0f} /s")

    def apply() -> None:
        state = JournalState()
        for seq, event in enumerate(events, 1):
            fold(state, event, seq)

    report("fold alone", f"{len(events) / best(apply):,.0f} /s")
    report("replay: read and fold", f"{len(events) / best(lambda: recover(store)):,.0f} /s")
    measure_checkpoint(store, tasks)
    store.close()


def measure_checkpoint(store: Store, tasks: int) -> None:
    found = recover(store)
    world, journal, checkpoint = found.state, found.journal, found.checkpoint
    chunks: list[float] = []
    begun = time.perf_counter()
    checkpoint.begin(world, journal.sealed, START)
    report(f"checkpoint: freeze with {tasks:,} dirty tasks", f"{(time.perf_counter() - begun) * 1e3:,.2f} ms")
    while True:
        started = time.perf_counter()
        batch = checkpoint.next_chunk(200)
        chunks.append(time.perf_counter() - started)
        if batch is None:
            break
        if batch:
            append_now(store, journal.seal((), extra=batch))
    report("checkpoint: rows of ended tasks, on the loop", f"{tasks / sum(chunks):,.0f} /s")
    report("checkpoint: pause of the loop, p99 of 200 rows", f"{sorted(chunks)[int(len(chunks) * 0.99)] * 1e3:,.2f} ms")
    pruner = Pruner(journal, found.catalog, checkpoint)
    planning = 0.0
    whole = time.perf_counter()
    count = 0
    later = START * 2
    for _ in range(20):
        started = time.perf_counter()
        tasks_ = pruner.expired(world, later, 500, journal.sealed)
        if not tasks_:
            break
        pruning = pruner.prune(tasks_, world, later)
        first = journal.take(len(pruning.events))
        for seq, event in enumerate(pruning.events, first):
            fold(world, event, seq)
        batch = journal.seal(list(enumerate(pruning.events, first)), extra=pruning.extra)
        planning += time.perf_counter() - started
        append_now(store, batch)
        pruner.durable(pruning)
        count += len(tasks_)
    report("prune: settled tasks, planned on the loop", f"{count / planning:,.0f} /s")
    report("prune: settled tasks, in all", f"{count / (time.perf_counter() - whole):,.0f} /s")


def measure_backlog(path: Path, backlog: int) -> None:
    store = open_store(path)
    found = recover(store)
    events = [life(n)[0] for n in range(backlog)]
    for items in in_commits(events):
        found.journal.take(len(items))
        for seq, event in items:
            fold(found.state, event, seq)
        append_now(store, found.journal.seal(items))
    report(f"open, {backlog:,} pending, no checkpoint", f"{best(lambda: recover(store)) * 1e3:,.0f} ms")
    found.checkpoint.begin(found.state, found.journal.sealed, START)
    started = time.perf_counter()
    while (batch := found.checkpoint.next_chunk(200)) is not None:
        if batch:
            append_now(store, found.journal.seal((), extra=batch))
    report(f"checkpoint of {backlog:,} live tasks, synced", f"{(time.perf_counter() - started) * 1e3:,.0f} ms")
    report(f"open, {backlog:,} pending, from the checkpoint", f"{best(lambda: recover(store)) * 1e3:,.0f} ms")
    store.close()


def measure_commits(path: Path) -> None:
    store = open_store(path)
    journal = Journal(store)
    times = []
    for n in range(2_000):
        event = life(n)[0]
        started = time.perf_counter()
        append_now(store, journal.seal([(journal.take(1), event)]))
        times.append(time.perf_counter() - started)
    times.sort()
    report("one event a commit, through the writer thread", f"{len(times) / sum(times):,.0f} /s")
    report("one event a commit, p50 and p99", f"{times[1000] * 1e3:.2f} / {times[1980] * 1e3:.2f} ms")
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=60_000)
    parser.add_argument("--backlog", type=int, default=200_000)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="journeyman-bench-", dir=options.directory))
    try:
        measure_log(directory / "log", options.tasks)
        measure_backlog(directory / "backlog", options.backlog)
        measure_commits(directory / "commits")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()

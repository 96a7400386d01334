"""Journals whose write-ahead log is in use, and processes that work on them: `python -m tests.journal.logged ROLE DIR ...`."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b, sha256
from pathlib import Path
from typing import IO, cast

from journeyman.journal import writing
from journeyman.journal.entered import EnteredMarks
from journeyman.journal.errors import JournalCorrupt, JournalError
from journeyman.journal.joining import check_log
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.opening import open_store
from journeyman.journal.record import GENESIS, Chain, decode_records
from journeyman.journal.store import Items, Store, Table
from journeyman.journal.wal import SMALL, WAL, Logged, decode_log, read_log
from journeyman.kernel.events import TaskSubmitted
from tests.journal.driver import Driver

ROOT = Path(__file__).parents[2]
ALL = 1_000_000
ARGUMENTS = b"arguments"
CROWD = 100  # tasks in one commit of the log
MANY = SMALL // 100  # tasks of this module in a commit that is not small


class Submitter(Driver):
    """Submits tasks with arguments that verify, a commit each."""

    def submit(self, name: str = "mail", delay: int = 0) -> bytes:
        id = self.random.randbytes(16)
        size = blake2b(ARGUMENTS, digest_size=16).digest()
        seq = self.emit(
            TaskSubmitted(*self.head(name), id, "send", 5, self.now + delay, 0, len(ARGUMENTS), size, 0, None, {"pad": self.pad()})
        )
        self.payloads.append((seq, ARGUMENTS))
        return id

    def pad(self) -> str:
        return "x" * self.random.randrange(200)

    def commit(self, tasks: int = 1) -> int:
        """The seq that is durable now."""
        for _ in range(tasks):
            self.submit()
        self.flush()
        return self.journal.sealed


def picture(store: Store, seed: int) -> str:
    """What all reads of the store say; the same for equal stores."""
    dice = random.Random(seed)
    said = sha256()
    for table in (Table.EVENTS, Table.PAYLOADS, Table.META):
        rows = store.scan(table, limit=ALL)
        said.update(repr((rows, store.scan(table, reverse=True, limit=ALL) == rows[::-1], store.count(table), store.last(table))).encode())
        if table is Table.META:
            continue
        newest = int.from_bytes(rows[-1][0], "big") + 3 if rows else 3
        for _ in range(6):
            low, high = (dice.randrange(newest).to_bytes(8, "big") for _ in range(2))
            limit = dice.choice((1, 2, 5, ALL))
            for stop in (high, None):
                said.update(repr(store.scan(table, low, stop, limit=limit)).encode())
                said.update(repr(store.scan(table, low, stop, reverse=True, limit=limit)).encode())
            keys = [dice.randrange(newest).to_bytes(8, "big") for _ in range(dice.randrange(8))]
            said.update(repr((store.get_many(table, keys), [store.get(table, key) for key in keys])).encode())
    return said.hexdigest()


def events_of(store: Store) -> Items:
    return store.scan(Table.EVENTS, limit=ALL)


def proven(store: Store) -> int:
    """The seq of the last event.  Every record is there, whole, chained to the one before it, and has its payload."""
    records = events_of(store)
    assert [int.from_bytes(key, "big") for key, _ in records] == list(range(1, len(records) + 1))
    chain = Chain(1, GENESIS)
    owners = [seq for seq, event in decode_records(records, chain) if isinstance(event, TaskSubmitted)]
    chain.finish()
    assert [int.from_bytes(key, "big") for key, _ in store.scan(Table.PAYLOADS, limit=ALL)] == owners
    assert set(store.get_many(Table.PAYLOADS, [seq.to_bytes(8, "big") for seq in owners])) <= {ARGUMENTS}
    return len(records)


def bare(path: Path) -> tuple[object, int]:
    """Events and payloads as a reader sees them, and the newest seq."""
    store = open_store(path, readonly=True)
    newest = proven(store)
    rows = events_of(store), store.scan(Table.PAYLOADS, limit=newest)
    store.close()
    return rows, newest


def copied(source: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(source, to, ignore=shutil.ignore_patterns("ballast", "lock.mdb"))
    return to


def misplaced(path: Path, name: str, kind: str) -> Path:
    """Put a folder, a FIFO or something unreadable where a file of the journal was."""
    (path / name).unlink()
    if kind == "folder":
        (path / name).mkdir()
    elif kind == "fifo":
        os.mkfifo(path / name)
    else:
        (path / name).symlink_to("/proc/self/mem")  # the system answers a read of its beginning with EIO
    return path


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Ends the process if this hangs."""
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def log_of(path: Path) -> list[Logged]:
    return decode_log(read_log(str(path)))


def poke(path: Path, at: int, data: bytes) -> None:
    with (path / WAL).open("r+b") as file:
        file.seek(at)
        file.write(data)


def refused(path: Path, last: int) -> bool:
    """Whether it is refused, by words that say what to do, for reading as for writing.  If not, all that was acknowledged is there."""
    words, seen = "", None
    reader = LmdbStore(str(path), readonly=True, locking=False)
    try:
        check_log(reader)
        assert proven(reader) >= last
        seen = events_of(reader)
    except JournalCorrupt as failure:
        words = str(failure)
    finally:
        reader.close()
    assert seen is not None or ("wal" in words and "Keep a copy" in words)
    try:
        owner = open_store(path, examine_first="never")
    except JournalCorrupt:
        if seen is None:
            return True
        raise
    assert seen == events_of(owner)
    newer = Submitter(owner, 5).commit()
    assert newer > last and proven(owner) == newer
    owner.close()
    return False


# --- processes ----------------------------------------------------------------------------------------------------------------


@contextmanager
def child(role: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in (str(ROOT), *sys.path) if entry)}
    command = [sys.executable, "-m", "tests.journal.logged", role, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], question: object) -> str:
    into, out = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    into.write(f"{question}\n")
    into.flush()
    return out.readline().strip()


def said(process: subprocess.Popen[str]) -> str:
    return cast("IO[str]", process.stdout).readline().strip()


def killed(path: Path, *, settled: int = 0, logged: int = 10, seed: int = 1) -> int:
    """Leave the journal as a SIGKILL does: `settled` small commits that went on to data.mdb, then `logged` in the log.  The last seq."""
    with child("leave", path, settled, logged, seed) as process:
        return int(said(process))


def made_left(path: Path) -> tuple[Path, int]:
    """A journal with ten commits in its log, older ones behind them in the file, and the seq that was acknowledged."""
    last = killed(path, settled=40)
    log = log_of(path)
    assert (len(log), log[-1].last) == (10, last)
    assert read_log(str(path))[log[-1].end :].count(b"JCMT") > 10
    return path, last


def leave(path: str, settled: int, logged: int, seed: int) -> None:
    """Role: make that, say the last seq and wait to be killed, or live on with a log that is not empty."""
    writing.SOON, writing.PAUSE, writing.QUICK = 0, 3600, 0
    store = open_store(path, examine_first="never")
    driver = Submitter(store, seed)
    for _ in range(settled):
        driver.commit()
    driver.commit(MANY)  # not small: the log goes with it
    for _ in range(logged):
        driver.commit()
    assert bool(store._writing.ahead) == (logged > 0)
    print(driver.journal.sealed, flush=True)
    for line in sys.stdin:
        print(driver.commit({"large\n": MANY, "crowd\n": CROWD}.get(line, 1)), flush=True)


def commit(path: str, seed: int) -> None:
    """Role: commit for ever, and say what is durable; sometimes wait for the log to settle, sometimes commit what is not small."""
    writing.SOON, writing.PAUSE, writing.QUICK = 0, 0.002, 0
    dice = random.Random(seed)
    driver = Submitter(open_store(path, examine_first="never"), seed)
    while True:
        print(driver.commit(dice.choice((1, 1, 1, 1, 2, 3, 15, 40, MANY))), flush=True)
        if dice.random() < 0.05:
            time.sleep(0.005)


def look(path: str) -> None:
    """Role: for each seed, the picture that this process has of the store."""
    store = LmdbStore(path, readonly=True)
    for line in sys.stdin:
        print(picture(store, int(line)), flush=True)


def watch(path: str, shown: str) -> None:
    """Role: read without a pause until asked to stop; say how often.  Whatever was acknowledged before a read must be in it."""
    store, marks = LmdbStore(path, readonly=True), EnteredMarks(shown)
    os.set_blocking(sys.stdin.fileno(), False)
    print("ready", flush=True)
    looks = 0
    while not sys.stdin.readline():
        check_reads(store, max(marks.all(), default=0))
        looks += 1
    print(looks, flush=True)


def check_reads(store: Store, acknowledged: int) -> None:
    """Of a store with one payload to each event, numbered from 1."""
    for table in (Table.EVENTS, Table.PAYLOADS):
        newest = store.last(table)
        seq = int.from_bytes(newest[0], "big") if newest else 0
        assert seq >= acknowledged, f"{acknowledged} was acknowledged, {seq} is seen in {table.name}"
        page = store.scan(table, reverse=True, limit=60)
        top = int.from_bytes(page[0][0], "big") if page else 0
        assert top >= seq
        assert [int.from_bytes(key, "big") for key, _ in page] == list(range(top, top - len(page), -1))
        up = store.scan(table, max(top - 50, 0).to_bytes(8, "big"), limit=ALL)
        assert [int.from_bytes(key, "big") for key, _ in up] == list(range(max(top - 50, 1), max(top - 50, 1) + len(up)))
        assert store.count(table) >= top
        assert store.get(table, top.to_bytes(8, "big")) is not None or not top


def main(role: str, *arguments: str) -> None:
    if role == "leave":
        leave(arguments[0], *map(int, arguments[1:]))
    elif role == "commit":
        commit(arguments[0], int(arguments[1]))
    elif role == "look":
        look(arguments[0])
    elif role == "watch":
        watch(*arguments)
    else:
        raise JournalError(f"no role is called {role}")


if __name__ == "__main__":
    main(*sys.argv[1:])

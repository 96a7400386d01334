"""The default store: LMDB 0.9, with a log before it for small commits.  The only file that imports lmdb.

Problem.  LMDB is a fine engine with sharp edges: a write transaction begun in one thread and committed in another leaves a lock held for
ever; growing the map kills open reads; a commit that raised may have happened.  Choice:
- One thread per store owns every write transaction from begin to commit, every growth of the map, and the close.  Batches reach it through
  a SimpleQueue, the answer goes back through the batch's `done`.  It encodes nothing and makes few calls: every call releases the
  interpreter's lock, and getting it back may take 5 ms when the loop is busy.
- Reads run on the caller's thread, in transactions that end before the call returns, behind a gate that growing the map closes.
- A full map is no failure: that transaction did not happen; the map doubles and the batch is tried again.
- Any other exception ends the store's writing life: the outcome is unknown (law 5), so this and every later batch reports it.
- Small commits go to a log first (writing.py, wal.py), and every read is of LMDB and of what the log has beyond it (ahead.py).

Rejected: writemap (SIGBUS on a full disk), NOSYNC (damage on power loss), a thread pool, the 1.0 engine (py-lmdb shows nothing of it).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, cast

import lmdb

from journeyman.journal.ahead import Ahead, LogReader, ahead_of, newest_event
from journeyman.journal.ballast import give_way
from journeyman.journal.entered import EnteredMarks
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked, JournalVersion, NotAJournal
from journeyman.journal.forked import abandon_after_fork
from journeyman.journal.headroom import Headroom
from journeyman.journal.plain import make_for_owner, whose
from journeyman.journal.putting import put
from journeyman.journal.readers import readers_in
from journeyman.journal.room import failed_commit, may_mean_full, way_out
from journeyman.journal.store import Batch, Done, Gauge, Items, Table
from journeyman.journal.wal import WAL_FLAG, WriteAheadLog, decode_log, read_log
from journeyman.journal.writing import Writing

Durability = Literal["full", "relaxed"]
_Reading = tuple[lmdb.Transaction, Ahead]  # of one moment
GIB: Final = 1 << 30
MAX_READERS: Final = 1024
_NAMES: Final = {table: table.name.lower().encode() for table in Table}
ENGINE_VERSION: Final[tuple[int, ...]] = lmdb.version()  # of the LMDB that new journals are made with
_DAMAGE: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.BadDbiError, lmdb.NotFoundError, lmdb.BadTxnError)


class LmdbStore:
    """A `Store` in the files data.mdb, lock.mdb and wal of one directory.

    Use `journeyman.journal.opening.open_store`: it locks, examines and creates.  `release` is called on the writer thread after LMDB has
    closed.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: Durability = "full",
        readonly: bool = False,
        locking: bool = True,
        map_size: int = GIB,
        marks: EnteredMarks | None = None,
        release: Callable[[bool], None] | None = None,
    ) -> None:
        self.path = path
        self.readonly = readonly
        self.failure: BaseException | None = None  # set once: why nothing is written any more
        self.empty = False  # there was nothing at all when it was opened
        self._pid = os.getpid()
        self._release = release
        self._marks = marks
        self._gate = threading.Lock()
        self._pinned: tuple[int, _Reading] | None = None  # by a snapshot: of which thread, and what it reads
        self._queue: SimpleQueue[tuple[Batch, Done] | None] = SimpleQueue()
        self._closed = False
        self._log = LogReader(path)
        self._env = _open(path, durability, readonly, locking, map_size)
        try:
            self._tables = self._open_tables()
            self._page_size = int(self._env.stat()["psize"])
            if not readonly:
                self._headroom = Headroom(os.path.join(path, "data.mdb"), self._extent)
                found = ahead_of(decode_log(read_log(path))).beyond(self.newest_in_data().to_bytes(8, "big"))
                self._writing = Writing(WriteAheadLog(path), found, self._commit_growing, self.newest_in_data, use=durability == "full")
                self._writing.flagged = self.get(Table.META, WAL_FLAG) is not None
        except BaseException:
            self._env.close()
            raise
        self._thread: threading.Thread | None = None
        if not readonly:
            self._thread = threading.Thread(target=self._write_forever, name="journeyman-writer", daemon=True)
            self._thread.start()
        abandon_after_fork(self)

    def _open_tables(self) -> dict[Table, Any]:
        with _translated(self.path):
            with self._env.begin() as txn:
                self.empty = txn.stat()["entries"] == 0
                if not self.empty and any(txn.get(name) is None for name in _NAMES.values()):
                    raise NotAJournal(self.path)
            if self.readonly:
                return {} if self.empty else {table: self._env.open_db(name, create=False) for table, name in _NAMES.items()}
            self._env.reader_check()
            # A handle outlives its transaction only by a commit; py-lmdb resets read transactions.  Where tables are, nothing is written.
            with self._env.begin(write=True) as txn:
                return {table: self._env.open_db(name, txn=txn, create=self.empty) for table, name in _NAMES.items()}

    # --- writing ---

    def begin_append(self, batch: Batch, done: Done) -> None:
        self._check()
        if self.readonly:
            raise JournalError("this journal was opened for reading only")
        self._queue.put((batch, done))

    def _write_forever(self) -> None:
        while (work := self._next()) is not None:
            batch, done = work
            self._try(self._writing.make_durable, batch)
            done(self.failure)
            if self.failure is None:
                if not self._writing.ahead:  # else data.mdb has not grown
                    self._headroom.after_commit()
                self._try(self._writing.prepare)
            del work, batch, done
        self._try(self._writing.finish)
        self._headroom.settle()
        with contextlib.suppress(lmdb.Error):
            self._env.close()
        self._headroom.close(in_order=self.failure is None)
        self._writing.close(in_order=self.failure is None)
        if self._release is not None:
            self._release(self.failure is None)

    def _next(self) -> tuple[Batch, Done] | None:
        """The next commit; while nobody has one, what is in the log goes to data.mdb."""
        try:
            return self._queue.get(timeout=self._writing.pause if self.failure is None else None)
        except Empty:
            self._try(self._writing.settle)
            return self._queue.get()

    def _try(self, work: Callable[..., None], *arguments: Batch) -> None:
        if self.failure is None:
            try:
                work(*arguments)
            except BaseException as failure:
                self.failure = self._diagnose(failure)

    def _commit_growing(self, batches: list[Batch]) -> None:
        while True:
            try:
                self._commit(batches)
                return
            except lmdb.MapFullError:
                self._grow()
            except lmdb.MapResizedError:
                with self._gate:
                    self._env.set_mapsize(0)

    def _commit(self, batches: list[Batch]) -> None:
        txn = self._env.begin(write=True)
        try:
            for batch in batches:
                put(txn, self._tables, batch)
            txn.commit()
        except BaseException:
            txn.abort()
            raise

    def _grow(self) -> None:
        with self._gate:  # growing kills open reads, so none is open
            self._env.reader_check()
            size = self._env.info()["map_size"] * 2
            try:
                self._env.set_mapsize(size)
            except (lmdb.Error, OverflowError) as failure:
                raise JournalFull(
                    f"the journal at {self.path} cannot grow its map to {size} bytes ({failure}): "
                    "raise the limit on address space (ulimit -v)"
                ) from failure

    def _diagnose(self, failure: BaseException) -> BaseException:
        """What a failed commit means to whoever must act.  Its outcome is unknown either way."""
        if isinstance(failure, JournalError):
            return failure
        return failed_commit(self.path, failure, doubt=isinstance(failure, lmdb.DiskError) or may_mean_full(failure))

    # --- reading ---

    def get(self, table: Table, key: bytes) -> bytes | None:
        with self._reading() as (txn, ahead):
            if ahead and (value := ahead.get(table, key)) is not None:
                return value
            return cast("bytes | None", txn.get(key, db=self._tables[table]))  # no transaction of ours is opened with buffers

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        with self._reading() as (txn, ahead):
            if len(keys) < 4:
                found = [cast("bytes | None", txn.get(key, db=self._tables[table])) for key in keys]
            else:
                stored: dict[bytes, bytes] = dict(cast("Items", txn.cursor(self._tables[table]).getmulti(keys)))
                found = [stored.get(key) for key in keys]
            return ahead.fill(table, keys, found) if ahead else found

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        with self._reading() as (txn, ahead):
            return ahead.scan(txn.cursor(self._tables[table]), table, start, stop, limit, reverse=reverse)

    def last(self, table: Table) -> tuple[bytes, bytes] | None:
        with self._reading() as (txn, ahead):
            cursor = txn.cursor(self._tables[table])
            return ahead.last(table) or (cast("tuple[bytes, bytes]", cursor.item()) if cursor.last() else None)

    def count(self, table: Table) -> int:
        with self._reading() as (txn, ahead):
            return int(txn.stat(self._tables[table])["entries"]) + ahead.count(table)

    def logged(self) -> Ahead:
        """What the newest commit has that is not in data.mdb."""
        with self._reading() as (_, ahead):
            return ahead

    def newest_in_data(self) -> int:
        """The seq of the last event in data.mdb, which the log may go beyond; 0 for none."""
        if self.empty and self.readonly:
            return 0
        with _translated(self.path), self._begin_reading() as txn:
            return int.from_bytes(newest_event(txn.cursor(self._tables[Table.EVENTS])), "big")

    def gauge(self) -> Gauge:
        with self._gate:
            self._check()
            info = self._env.info()
            readers, oldest = readers_in(self._env.readers(), info["last_txnid"])
            with _translated(self.path), self._begin_reading() as txn:
                trees = [txn.stat(), *(txn.stat(table) for table in self._tables.values())]
        taken = sum(tree["branch_pages"] + tree["leaf_pages"] + tree["overflow_pages"] for tree in trees) * self._page_size
        (free, size), used = self.space(), self._extent()[0]
        return Gauge(info["map_size"], used, free, size, readers, info["last_txnid"] - oldest, reusable=max(0, used - taken))

    def _extent(self) -> tuple[int, int]:
        """Bytes of data.mdb up to the last page that LMDB has ever taken, and the size of the map."""
        with _translated(self.path):
            info = self._env.info()
            return (info["last_pgno"] + 1) * self._page_size, info["map_size"]

    def space(self) -> tuple[int, int]:
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize

    def walk(self) -> None:
        """Read every page, in use or free, by a copy to nowhere.  Damage may end the process: for probes."""
        with open(os.devnull, "wb") as nowhere:
            self.copy_to(nowhere.fileno())  # whether pages leaked does not matter here: that costs room and no data

    def copy_to(self, fd: int, *, compact: bool = True) -> bool:
        """Write a copy of the newest commit to a file or pipe.  False: pages leaked, and it is whole only with `compact` False."""
        with self._gate, _translated(self.path), contextlib.suppress(lmdb.IncompatibleError):
            self._check()
            self._begin_reading().abort()  # follows a map that an engine has grown
            self._env.copyfd(fd, compact=compact)
            return True
        return False

    def tend(self) -> None:
        """Free the slots of readers that died.  Wanted once a minute."""
        with self._gate:
            self._check()
            self._env.reader_check()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[_Reading]:
        if self._pinned is not None and self._pinned[0] == threading.get_ident():
            with _translated(self.path):
                yield self._pinned[1]
            return
        with self._gate:
            self._check()
            with _translated(self.path):
                ahead = self._log.read() if self.readonly else self._writing.ahead
                with self._begin_reading() as txn:
                    yield txn, ahead and ahead.beyond(newest_event(txn.cursor(self._tables[Table.EVENTS])))

    def _begin_reading(self) -> lmdb.Transaction:
        try:
            return self._env.begin()
        except lmdb.MapResizedError:  # the engine beside this tool has grown the map; no read of ours is open
            self._env.set_mapsize(0)
            return self._env.begin()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let this thread's reads see one and the same commit, whatever an engine writes meanwhile.  For tools (`readonly`).

        While it lasts, no page that this commit needs is used again, and a busy journal grows.  One within another is part of it.
        """
        if self._pinned is not None and self._pinned[0] == threading.get_ident():
            yield
            return
        with self._reading() as reading:
            self._pinned = (threading.get_ident(), reading)
            try:
                yield
            finally:
                self._pinned = None

    def give_way(self) -> int:
        """On a full disk: give up the ballast.  The bytes that are free now."""
        return give_way(self.path)

    def spoil(self) -> None:
        """Nothing is written any more, and the next owner shall look twice."""
        self.failure = self.failure or JournalError("this journal was not opened completely")

    def enter(self, slot: int, seq: int) -> None:
        if self._marks is not None:
            self._marks.set(slot, seq)

    def leave(self, slot: int) -> None:
        if self._marks is not None:
            self._marks.set(slot, 0)

    def entered(self, through: int | None = None) -> set[int]:
        return set() if self._marks is None else set(self._marks.all(through))

    def _check(self) -> None:
        if self._closed:
            raise JournalError("this journal is closed" if os.getpid() == self._pid else _FORKED)

    def abandon(self) -> None:
        """In a forked child: this object is the parent's.  Nothing here may be used again."""
        self._closed = True

    def close(self) -> None:
        """Write what was handed over, close LMDB on its own thread and release the lock.  Waits for that; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._thread is None:
            self._env.close()
            if self._release is not None:
                self._release(True)
        else:
            self._queue.put(None)
            self._thread.join()
        if self._marks is not None:
            self._marks.close()


_FORKED = "this journal was opened before a fork: only who opened it may use it; open your own engine, or start workers with spawn"


def _open(path: str, durability: Durability, readonly: bool, locking: bool, map_size: int) -> lmdb.Environment:
    data = os.path.join(path, "data.mdb")
    stored = os.path.getsize(data) if os.path.exists(data) else None
    options: dict[str, Any] = {"lib_version": 0} if stored is None else {}
    size = map_size
    while size < (stored or 0) * 2 and size >= GIB:
        size *= 2
    if locking:
        make_for_owner(os.path.join(path, "lock.mdb"))
    with _translated(path):
        return lmdb.open(
            os.fsencode(path), map_size=size, max_dbs=16, max_readers=MAX_READERS, mode=0o600, create=not readonly, readonly=readonly,
            sync=True, metasync=durability == "full", writemap=False, map_async=False, readahead=True, lock=locking, **options,
        )  # fmt: skip


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """LMDB's errors, as what the operator must do."""
    try:
        yield
    except _DAMAGE as failure:
        raise JournalCorrupt(
            f"the journal at {path} is damaged ({failure}): keep a copy of the directory and restore a backup"
        ) from failure
    except lmdb.LockError as failure:
        raise JournalLocked(
            f"LMDB cannot lock the journal at {path} ({failure}): two containers with the same process ids, or a file system without locks"
        ) from failure
    except lmdb.ReadonlyError as failure:
        raise JournalError(
            f"the journal at {path} cannot be written by user {os.geteuid()} ({failure}), and who reads it must be able to write lock.mdb, "
            f"where LMDB lists its readers.  {whose(os.path.join(path, 'lock.mdb'))}"
        ) from failure
    except lmdb.DiskError as failure:
        raise JournalFull(f"no space left for the journal at {path} ({failure}): free some and try again.  {way_out(path)}") from failure
    except lmdb.Error as failure:
        words = str(failure)
        if isinstance(failure, lmdb.VersionMismatchError) or "data format v" in words:
            raise JournalVersion(f"the journal at {path} is in a file format of another LMDB ({failure})") from failure
        advice = ": ask that engine, or read the journal from another process" if "already open in this process" in words else ""
        raise JournalError(f"LMDB cannot use the journal at {path}: {words.rstrip('.')}{advice}") from failure

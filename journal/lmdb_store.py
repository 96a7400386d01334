"""The default store: LMDB 0.9, two disk barriers a commit.  The only file that imports lmdb.

Problem.  LMDB is a fine engine with sharp edges: a write transaction begun in one thread and committed in another leaves a lock held for
ever; growing the map kills open reads; a commit that raised may have happened.

Choice.
- One thread per store owns every write transaction from begin to commit, every growth of the map, and the close.  Batches reach it through
  a SimpleQueue, the answer goes back through the batch's `done`.  It encodes nothing and makes few calls: every call releases the
  interpreter's lock, and getting it back may take 5 ms when the loop is busy.  Many keys are put by one `putmulti`.
- Reads run on the caller's thread, in transactions that end before the call returns, behind a gate that growing the map closes.  Values are
  copies.
- A full map is no failure: that transaction did not happen; the map doubles and the batch is tried again.
- Any other exception ends the store's writing life: the outcome is unknown (law 5), so this and every later batch reports it.

Rejected: writemap (SIGBUS on a full disk), NOSYNC (damage on power loss), a thread pool (see above), the 1.0 engine (py-lmdb shows none of
what it adds).
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Final, Literal, cast

import lmdb

from journeyman.journal.ballast import give_way
from journeyman.journal.cursors import scan_down, scan_up
from journeyman.journal.entered import EnteredMarks
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked, JournalVersion, NotAJournal
from journeyman.journal.headroom import Headroom
from journeyman.journal.room import may_mean_full
from journeyman.journal.store import Batch, Done, Gauge, Items, Table

Durability = Literal["full", "relaxed"]
GIB: Final = 1 << 30
MAX_READERS: Final = 1024
_NAMES: Final = {table: table.name.lower().encode() for table in Table}
ENGINE_VERSION: Final[tuple[int, ...]] = lmdb.version()  # of the LMDB that new journals are made with
_DAMAGE: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.BadDbiError, lmdb.NotFoundError, lmdb.BadTxnError)
_NEARLY_FULL: Final = 1 << 20  # bytes free below which an I/O error means "full"


class LmdbStore:
    """A `Store` in the files data.mdb and lock.mdb of one directory.

    Use `journeyman.journal.opening.open_store`: it locks, examines and creates; this class only runs LMDB.  `release` is called
    on the writer thread after LMDB has closed.
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
        self._pinned: tuple[int, lmdb.Transaction] | None = None  # by a snapshot: of which thread, and its transaction
        self._queue: SimpleQueue[tuple[Batch, Done] | None] = SimpleQueue()
        self._closed = False
        self._env = _open(path, durability, readonly, locking, map_size)
        try:
            self._tables = self._open_tables()
            self._page_size = int(self._env.stat()["psize"])
            if not readonly:
                self._headroom = Headroom(os.path.join(path, "data.mdb"), self._extent)
        except BaseException:
            self._env.close()
            raise
        self._thread: threading.Thread | None = None
        if not readonly:
            self._thread = threading.Thread(target=self._write_forever, name="journeyman-writer", daemon=True)
            self._thread.start()
        _stores.add(self)

    def _open_tables(self) -> dict[Table, Any]:
        with _translated(self.path):
            with self._env.begin() as txn:
                self.empty = txn.stat()["entries"] == 0
                if not self.empty and any(txn.get(name) is None for name in _NAMES.values()):
                    raise NotAJournal(self.path)
            if self.readonly:
                return {} if self.empty else {table: self._env.open_db(name, create=False) for table, name in _NAMES.items()}
            self._env.reader_check()
            # A handle outlives its transaction only by a commit, and py-lmdb resets read transactions instead.  Nothing is written
            # to a journal that has its tables.
            with self._env.begin(write=True) as txn:
                return {table: self._env.open_db(name, txn=txn, create=self.empty) for table, name in _NAMES.items()}

    # --- writing ---

    def begin_append(self, batch: Batch, done: Done) -> None:
        self._check()
        if self.readonly:
            raise JournalError("this journal was opened for reading only")
        self._queue.put((batch, done))

    def _write_forever(self) -> None:
        while (work := self._queue.get()) is not None:
            batch, done = work
            if self.failure is None:
                try:
                    self._commit_growing(batch)
                except BaseException as failure:
                    self.failure = self._diagnose(failure)
            done(self.failure)
            if self.failure is None:
                self._headroom.after_commit()
            del work, batch, done
        self._headroom.settle()
        with contextlib.suppress(lmdb.Error):
            self._env.close()
        self._headroom.close(in_order=self.failure is None)
        if self._release is not None:
            self._release(self.failure is None)

    def _commit_growing(self, batch: Batch) -> None:
        while True:
            try:
                self._commit(batch)
                return
            except lmdb.MapFullError:
                self._grow()
            except lmdb.MapResizedError:
                with self._gate:
                    self._env.set_mapsize(0)

    def _commit(self, batch: Batch) -> None:
        txn = self._env.begin(write=True)
        try:
            for table, keys in batch.deletes:
                db = self._tables[table]
                for key in keys:
                    txn.delete(key, db=db)
            for table, items, append in batch.puts:
                if len(items) == 1:  # a lone commit: a cursor would cost more than the put
                    added = int(txn.put(*items[0], append=append, db=self._tables[table]))
                    consumed = 1
                else:
                    consumed, added = txn.cursor(self._tables[table]).putmulti(items, append=append)
                if consumed != len(items) or (append and added != len(items)):
                    raise JournalCorrupt(f"append out of order in table {table.name}: {added} of {len(items)} keys were taken")
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
        if isinstance(failure, lmdb.DiskError) or may_mean_full(failure):
            with contextlib.suppress(OSError):
                if self.space()[0] < _NEARLY_FULL:
                    return JournalFull(
                        f"the disk of the journal at {self.path} is full: free some space and open the engine again; "
                        f"whether the last commit was stored shows then ({failure})"
                    )
        return JournalError(
            f"a commit to the journal at {self.path} failed, its outcome is unknown; check the disk and open the engine again ({failure!r})"
        )

    # --- reading ---

    def get(self, table: Table, key: bytes) -> bytes | None:
        with self._reading() as txn:
            return cast("bytes | None", txn.get(key, db=self._tables[table]))  # no transaction of ours is opened with buffers

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        with self._reading() as txn:
            if len(keys) < 4:
                return [cast("bytes | None", txn.get(key, db=self._tables[table])) for key in keys]
            found: dict[bytes, bytes] = dict(cast("Items", txn.cursor(self._tables[table]).getmulti(keys)))
        return [found.get(key) for key in keys]

    def scan(self, table: Table, start: bytes = b"", stop: bytes | None = None, *, reverse: bool = False, limit: int) -> Items:
        with self._reading() as txn:
            cursor = txn.cursor(self._tables[table])
            return scan_down(cursor, start, stop, limit) if reverse else scan_up(cursor, start, stop, limit)

    def last(self, table: Table) -> tuple[bytes, bytes] | None:
        with self._reading() as txn:
            cursor = txn.cursor(self._tables[table])
            return cast("tuple[bytes, bytes]", cursor.item()) if cursor.last() else None

    def count(self, table: Table) -> int:
        with self._reading() as txn:
            return int(txn.stat(self._tables[table])["entries"])

    def gauge(self) -> Gauge:
        with self._gate:
            self._check()
            info = self._env.info()
            readers = [line.split() for line in self._env.readers().splitlines()[1:]]
        free, size = self.space()
        oldest = min((int(row[2]) for row in readers if len(row) == 3 and row[2].isdigit()), default=info["last_txnid"])
        return Gauge(
            map_size=info["map_size"],
            map_used=self._extent()[0],
            disk_free=free,
            disk_size=size,
            readers=len(readers),
            reader_lag=info["last_txnid"] - oldest,
        )

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
    def _reading(self) -> Iterator[lmdb.Transaction]:
        if self._pinned is not None and self._pinned[0] == threading.get_ident():
            with _translated(self.path):
                yield self._pinned[1]
            return
        with self._gate:
            self._check()
            with _translated(self.path), self._begin_reading() as txn:
                yield txn

    def _begin_reading(self) -> lmdb.Transaction:
        try:
            return self._env.begin()
        except lmdb.MapResizedError:  # the engine beside this tool has grown the map; no read of ours is open
            self._env.set_mapsize(0)
            return self._env.begin()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let this thread's reads see one and the same commit, whatever an engine writes meanwhile.  For tools (`readonly`).

        While it lasts, no page that this commit needs is used again, and the file of a busy journal grows: keep it short.
        One within another is part of it.
        """
        if self._pinned is not None and self._pinned[0] == threading.get_ident():
            yield
            return
        with self._gate:
            self._check()
            with _translated(self.path), self._begin_reading() as txn:
                self._pinned = (threading.get_ident(), txn)
                try:
                    yield
                finally:
                    self._pinned = None

    def give_way(self) -> int:
        """On a full disk: give up the ballast.  The bytes that are free now."""
        return give_way(self.path)

    def spoil(self) -> None:
        """The next owner shall look twice, whatever the close says."""
        self.failure = self.failure or JournalError("this journal was not opened completely")

    def enter(self, slot: int, seq: int) -> None:
        if self._marks is not None:
            self._marks.set(slot, seq)

    def leave(self, slot: int) -> None:
        if self._marks is not None:
            self._marks.set(slot, 0)

    def entered(self) -> set[int]:
        return set() if self._marks is None else set(self._marks.all())

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


_stores: weakref.WeakSet[LmdbStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_stores):
        store.abandon()
    _stores.clear()


os.register_at_fork(after_in_child=_after_fork)


_FORKED = "this journal was opened before a fork: only who opened it may use it; open your own engine, or start workers with spawn"


def _open(path: str, durability: Durability, readonly: bool, locking: bool, map_size: int) -> lmdb.Environment:
    data = os.path.join(path, "data.mdb")
    stored = os.path.getsize(data) if os.path.exists(data) else None
    options: dict[str, Any] = {"lib_version": 0} if stored is None else {}
    size = map_size
    while size < (stored or 0) * 2 and size >= GIB:
        size *= 2
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
            f"where LMDB lists its readers: run this as its owner, user {os.stat(path).st_uid}, or change the mode of its files"
        ) from failure
    except lmdb.DiskError as failure:
        raise JournalFull(f"no space left for the journal at {path} ({failure}): free some and try again") from failure
    except lmdb.Error as failure:
        words = str(failure)
        if isinstance(failure, lmdb.VersionMismatchError) or "data format v" in words:
            raise JournalVersion(f"the journal at {path} is in a file format of another LMDB ({failure})") from failure
        advice = ": ask that engine, or read the journal from another process" if "already open in this process" in words else ""
        raise JournalError(f"LMDB cannot use the journal at {path}: {words.rstrip('.')}{advice}") from failure

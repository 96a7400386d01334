"""Opening a journal's directory safely: locks, examines, creates, and only then hands out a store.

In this order, and why:

 1. the file system is asked whether it can keep a journal (filesystem.py);
 2. the directory is made by us, 0700, because LMDB's default shows every task to every user;
 3. `owner.lock` (lock.py): everything after it happens to nobody else's journal;
 4. missing or empty data where a journal was is refused (identity.py), because LMDB would call it a fresh database;
 5. after an unclean end, or when data.mdb is not as its last owner left it, a child process looks at it first (probe.py): a truncated map
    kills the process that reads it, and that must not be yours; another program's database is told apart from damage, and left as it was.
    The look is a recovery, which of an imported journal that never had a checkpoint is a fold of everything;
 6. LMDB is opened, its tables too, stale readers freed; the write-ahead log must go with it (joining.py);
 7. identity: created (and its names made durable), or checked for version and features, and migrated; a copy gets a lineage of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final, Literal

from journeyman.journal.ballast import lay_ballast
from journeyman.journal.entered import EnteredMarks
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalFull, NoJournal, NotAJournal
from journeyman.journal.filesystem import check_directory, make_directory, refuse_unsafe, sync_directory
from journeyman.journal.identity import (
    check_features,
    compare_sidecar,
    forget_copied,
    identity_batch,
    new_identity,
    own_lineage,
    read_identity,
    refuse_lost_data,
    require_data,
    write_sidecar,
)
from journeyman.journal.joining import check_log
from journeyman.journal.lmdb_store import ENGINE_VERSION, GIB, Durability, LmdbStore
from journeyman.journal.lock import OwnerLock, left_in_order, looked_at, owner_of
from journeyman.journal.migrate import append_now, migrate
from journeyman.journal.plain import whose
from journeyman.journal.probe import examine
from journeyman.journal.room import way_out
from journeyman.journal.store import Store
from journeyman.journal.wal import adopt_log

ENTERED: Final = "entered"


def open_store(
    path: str | os.PathLike[str],
    *,
    durability: Durability = "full",
    allow_unsafe_fs: bool = False,
    readonly: bool = False,
    map_size: int = GIB,
    examine_first: Literal["when suspicious", "always", "never"] = "when suspicious",
) -> LmdbStore:
    """Open or create the journal in the directory `path`.

    `durability`: "full" loses nothing acknowledged; "relaxed" may lose the newest commit on a power cut.  `readonly`: for tools; takes no
    lock. `map_size`: bytes of address space to begin with.  JournalLocked, JournalCorrupt, JournalVersion, JournalFull, JournalError.
    """
    if durability not in ("full", "relaxed"):
        raise ValueError(f'durability is "full" or "relaxed", not {durability!r}')
    directory = os.path.abspath(os.fspath(path))
    with _readable_errors(directory):
        if readonly:
            return _open_readonly(directory, allow_unsafe_fs, map_size)
        made = make_directory(directory)
        refuse_unsafe(directory, allow_unsafe_fs)
        if not made:
            check_directory(directory)
        lock = OwnerLock(directory)
        try:
            return _open_locked(directory, lock, durability, map_size, examine_first)
        except NotAJournal:
            lock.withdraw()
            raise
        except BaseException:
            lock.release(clean=False)
            raise


def _open_locked(directory: str, lock: OwnerLock, durability: Durability, map_size: int, examine_first: str) -> LmdbStore:
    refuse_lost_data(directory)
    data = os.path.join(directory, "data.mdb")
    if os.path.exists(data) and os.path.getsize(data):
        if examine_first == "always" or (examine_first == "when suspicious" and lock.suspicious):
            examine(directory, thorough=not lock.unclean)
        os.chmod(data, 0o600)
    lock.own()
    marks = EnteredMarks(os.path.join(directory, ENTERED))
    try:
        store = LmdbStore(
            directory, durability=durability, map_size=map_size, marks=marks, release=lambda clean: lock.release(clean=clean)
        )  # fmt: skip
    except BaseException:
        marks.close()
        raise
    try:
        check_log(store)
        adopt_log(directory)
        lock.writes()
        prepare_identity(store, directory)
        lay_ballast(directory)
    except BaseException:
        store.spoil()
        store.close()
        raise
    return store


def _open_readonly(directory: str, allow_unsafe_fs: bool, map_size: int) -> LmdbStore:
    require_data(directory)
    refuse_unsafe(directory, allow_unsafe_fs)
    if owner_of(directory) is None and not left_in_order(directory):
        # An engine that has it open has looked itself, and writes while the child would look; one that closed it left it sound.
        with _unless_opened(directory):
            examine(directory, thorough=False)
    store = LmdbStore(directory, readonly=True, map_size=map_size)
    try:
        if owner_of(directory) is None:
            with _unless_opened(directory):
                check_log(store)
        identity = None if store.empty else read_identity(store)
        if identity is None:
            raise NoJournal(directory)
        check_features(identity, readonly=True)
    except BaseException:
        store.close()
        raise
    return store


@contextlib.contextmanager
def _unless_opened(directory: str) -> Iterator[None]:
    """What looks damaged because an engine has begun to write meanwhile is not: that engine has looked itself.  It may even have gone."""
    before = left_in_order(directory)
    try:
        yield
    except JournalCorrupt:
        if not looked_at(directory) and (before or not left_in_order(directory)):
            raise


def prepare_identity(store: Store, directory: str | None = None) -> None:
    """Give a new store its identity, or check and migrate the one it has.  `directory`: of the sidecar, None for stores without files."""
    identity = read_identity(store)
    if identity is None:
        identity = new_identity(lmdb=ENGINE_VERSION if directory else ())
        append_now(store, identity_batch(identity))
        if directory is not None:
            write_sidecar(directory, identity)
            sync_directory(os.path.dirname(directory))
        return
    check_features(identity, readonly=False)
    identity = migrate(store, identity)
    if directory is not None:
        compare_sidecar(directory, identity)
        if (renewed := own_lineage(directory, identity)) is not None:
            append_now(store, identity_batch(renewed))
            forget_copied(directory)


@contextlib.contextmanager
def _readable_errors(directory: str) -> Iterator[None]:
    """What the operating system refuses, as what the operator must do."""
    try:
        yield
    except PermissionError as failure:
        advice = f".  {whose(failure.filename)}" if failure.filename else ""
        raise JournalError(
            f"the journal at {directory} cannot be opened by user {os.geteuid()}: {failure.strerror} ({failure.filename}){advice}"
        ) from failure
    except OSError as failure:
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise JournalFull(f"no space left for the journal at {directory}: free some and try again.  {way_out(directory)}") from failure
        if failure.errno == errno.EROFS:
            raise JournalError(
                f"the journal at {directory} is on a file system that is mounted read-only: it can be looked at there; "
                "to change it, mount that for writing or restore a copy elsewhere"
            ) from failure
        raise JournalError(f"the journal at {directory} cannot be opened: {failure}") from failure

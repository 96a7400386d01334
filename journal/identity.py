"""Who a journal is: identity record, format version, feature flags, and a sidecar that remembers that there was one.

META "identity" is a map, written once in the commit that creates the journal:

    journal     UUID, 16 bytes, of this journal for ever
    lineage     UUID, 16 bytes, of one course of history: a copy (backup, import) keeps it as long as it is only read, and gets one of its
                own when it is first opened to be written to, for from there on it goes its own way
    format      format version of the whole, now 1
    compat      list of str: features an older version may ignore
    ro          list of str: with an unknown one here, only reading is safe
    incompat    list of str: with an unknown one here, nothing is safe
    created_at  microseconds UTC
    lmdb        the LMDB engine's version as a list of int; empty for other stores

The file `copied` in a copy says that this has not happened yet.  In the copy and not in its data, which is checked as it was copied.

The file `identity` beside data.mdb holds the journal's UUID in hex.  An empty or missing data.mdb is a new journal only where nothing tells
of an older one: LMDB takes a file of 0 bytes for a fresh database, and a queue that was lost must not look like an empty queue.  What
tells of one is this file, the ballast, and a lock file whose owner closed in good order; all three are written after the identity.  A lock
file alone that was never closed is what a kill leaves while a journal is being made: there was nothing yet, and it is made anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from journeyman.journal.ballast import BALLAST
from journeyman.journal.errors import JournalCorrupt, JournalVersion, NoJournal
from journeyman.journal.filesystem import write_durably
from journeyman.journal.lock import LOCK_NAME, closed_once
from journeyman.journal.plain import read_plain
from journeyman.journal.row import decode_named, encode_named
from journeyman.journal.store import Batch, Store, Table

JOURNAL_FORMAT: Final = 1
IDENTITY: Final = b"identity"
SIDECAR: Final = "identity"
COPIED: Final = "copied"
KNOWN_FEATURES: Final = {"compat": frozenset[str](), "ro": frozenset[str](), "incompat": frozenset[str]()}


class Identity(NamedTuple):
    journal: bytes
    lineage: bytes
    format: int
    compat: list[str]
    ro: list[str]
    incompat: list[str]
    created_at: int
    lmdb: list[int]


def new_identity(entropy: Callable[[int], bytes] = os.urandom, lmdb: Sequence[int] = (), created_at: int | None = None) -> Identity:
    """A fresh one.  UUIDs are version 4."""
    at = time.time_ns() // 1_000 if created_at is None else created_at
    return Identity(_uuid4(entropy), _uuid4(entropy), JOURNAL_FORMAT, [], [], [], at, list(lmdb))


def _uuid4(entropy: Callable[[int], bytes]) -> bytes:
    bits = bytearray(entropy(16))
    bits[6] = bits[6] & 0x0F | 0x40
    bits[8] = bits[8] & 0x3F | 0x80
    return bytes(bits)


def identity_batch(identity: Identity) -> Batch:
    """The commit that creates a journal, or changes what it is."""
    batch = Batch()
    batch.put(Table.META, [encode_named(IDENTITY, identity._asdict())])
    return batch


def read_identity(store: Store) -> Identity | None:
    """The stored identity, None for a store nobody has written to.  JournalCorrupt."""
    found = decode_named(IDENTITY, store.get(Table.META, IDENTITY))
    if found is None:
        if store.count(Table.META) or store.count(Table.EVENTS):
            raise JournalCorrupt("this store holds records but no identity: it is damaged or no journal of Journeyman's")
        return None
    return Identity(*(found.get(name) for name in Identity._fields))  # type: ignore[arg-type]


def check_features(identity: Identity, *, readonly: bool) -> None:
    """JournalVersion when this version of Journeyman must not touch the journal."""
    unknown = sorted(set(identity.incompat) - KNOWN_FEATURES["incompat"])
    if not readonly:
        unknown += sorted(set(identity.ro) - KNOWN_FEATURES["ro"])
    if unknown:
        raise JournalVersion(
            f"this journal uses {', '.join(unknown)}, which this version of Journeyman does not know: open it with a newer version"
        )


def read_sidecar(directory: str) -> bytes | None:
    """The UUID the sidecar names, None when there is no sidecar."""
    path = os.path.join(directory, SIDECAR)
    text = read_plain(path)
    if text is None:
        return None
    try:
        return bytes.fromhex(text.decode("ascii").strip())
    except ValueError as failure:
        raise JournalCorrupt(
            f"{path} does not hold a journal's UUID: restore it from a backup, or remove it if data.mdb is whole"
        ) from failure


def write_sidecar(directory: str, identity: Identity) -> None:
    write_durably(os.path.join(directory, SIDECAR), identity.journal.hex().encode() + b"\n")


def compare_sidecar(directory: str, identity: Identity) -> None:
    """Write a missing sidecar; JournalCorrupt when it belongs to another journal."""
    named = read_sidecar(directory)
    if named is None:
        write_sidecar(directory, identity)
    elif named != identity.journal:
        raise JournalCorrupt(
            f"data.mdb in {directory} is journal {identity.journal.hex()}, "
            f"the file `{SIDECAR}` beside it names {named.hex()}: files of two journals were mixed"
        )


def mark_copied(directory: str) -> None:
    """Say of a new copy that it has its original's lineage."""
    write_durably(os.path.join(directory, COPIED), b"")


def own_lineage(directory: str, identity: Identity, entropy: Callable[[int], bytes] = os.urandom) -> Identity | None:
    """What a copy is from now on, as it is going to be written to; None for what is no copy, or has its own lineage already."""
    return identity._replace(lineage=_uuid4(entropy)) if os.path.exists(os.path.join(directory, COPIED)) else None


def forget_copied(directory: str) -> None:
    """A lineage of its own is durable.  If a crash keeps the mark, the copy gets another one, which nobody has seen in use."""
    os.unlink(os.path.join(directory, COPIED))


def refuse_lost_data(directory: str) -> None:
    """JournalCorrupt when there was a journal here and its data is gone."""
    data = os.path.join(directory, "data.mdb")
    size = os.path.getsize(data) if os.path.exists(data) else None
    witness = _witness(directory) if not size else None
    if witness is not None:
        what = "missing" if size is None else "empty"
        raise JournalCorrupt(
            f"{data} is {what}, but the file `{witness}` says that a journal was here: restore data.mdb from a backup, "
            "or remove the whole directory to begin anew without the old tasks"
        )


def require_data(directory: str) -> None:
    """NoJournal where there is nothing to read; JournalCorrupt where there was."""
    if os.path.isdir(directory):
        refuse_lost_data(directory)
    data = os.path.join(directory, "data.mdb")
    if not os.path.exists(data) or not os.path.getsize(data):
        raise NoJournal(directory)


def _witness(directory: str) -> str | None:
    """The file that tells of a journal which once was whole here, if there is one."""
    if read_sidecar(directory) is not None:
        return SIDECAR
    if os.path.exists(os.path.join(directory, BALLAST)):
        return BALLAST
    return LOCK_NAME if closed_once(directory) else None

"""From one format of the whole journal to the next.

`MIGRATIONS` maps a format version to the function that makes a journal of that version one of the next.  A function may run again after a
crash: it is given the store and must be repeatable until the new identity is committed, which `migrate` does after it.  Events are never
rewritten: an event kind that changes shape gets appended fields (record.py) or a new tag; what is migrated are projections and META.

Version 1 is the first, so the table is empty.  A newer version is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from types import MappingProxyType
from typing import Final

from journeyman.journal.errors import JournalVersion
from journeyman.journal.identity import JOURNAL_FORMAT, Identity, identity_batch
from journeyman.journal.store import Batch, Store

Migration = Callable[[Store], None]
MIGRATIONS: Final[Mapping[int, Migration]] = MappingProxyType({})


def migrate(store: Store, identity: Identity, migrations: Mapping[int, Migration] = MIGRATIONS, target: int = JOURNAL_FORMAT) -> Identity:
    """Bring the journal to format `target`, step by step.  JournalVersion when there is no way."""
    if identity.format > target:
        raise JournalVersion(
            f"this journal has format {identity.format}; this Journeyman reads up to {target}: upgrade Journeyman to open it"
        )
    while identity.format < target:
        step = migrations.get(identity.format)
        if step is None:
            raise JournalVersion(
                f"this journal has format {identity.format}; this Journeyman begins at {target}: open it once with a version in between"
            )
        step(store)
        identity = identity._replace(format=identity.format + 1)
        append_now(store, identity_batch(identity))
    return identity


def append_now(store: Store, batch: Batch) -> None:
    """Append and wait until it is durable: for opening and for tools, where no loop runs.  Raises what the store reports."""
    done = Event()
    outcome: list[BaseException | None] = []

    def on_done(failure: BaseException | None) -> None:
        outcome.append(failure)
        done.set()

    store.begin_append(batch, on_done)
    done.wait()
    if outcome[0] is not None:
        raise outcome[0]

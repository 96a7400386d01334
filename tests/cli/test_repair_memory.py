"""What a repair holds in memory is bounded by its checkpoints, wherever commits end and whatever is missing of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from journeyman.journal import open_journal
from journeyman.journal import repair as module
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.record import FIRST
from journeyman.journal.repair import repair
from journeyman.journal.store import Batch, Table
from tests.cli.journals import filled
from tests.journal.driver import commit


def test_checkpoints_are_taken_where_no_commit_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = filled(tmp_path / "jobs", tasks=60)
    store = LmdbStore(str(home))
    records, holes = store.scan(Table.EVENTS, limit=10_000), Batch()
    holes.delete(Table.EVENTS, [key for (key, value), (_, after) in pairwise(records) if after[2] & FIRST])
    commit(store, holes)  # the last record of every commit but the newest
    store.close()
    taken: list[int] = []
    known = module._Writer._take_checkpoint

    def counted(writer: module._Writer) -> None:
        taken.append(writer.journal.sealed)
        known(writer)

    monkeypatch.setattr(module, "BATCH", 20)
    monkeypatch.setattr(module, "_CHECKPOINT", 40)
    monkeypatch.setattr(module._Writer, "_take_checkpoint", counted)
    repair(home, tmp_path / "new")
    assert len(taken) >= len(records) // 40 - 2
    with open_journal(tmp_path / "new") as view:
        assert view.last_seq >= taken[-1]

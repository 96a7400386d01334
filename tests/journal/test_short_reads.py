"""No look at the past holds a read transaction for longer than a page takes, so it never keeps an engine from using its pages again.

Counted in records and rows, not in seconds: a test on a busy machine would measure the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from journeyman.journal import basis, changes, log, past
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.view import open_journal
from journeyman.journal.whatif import Variant, reading, settings, what_if
from journeyman.sim.saving import save
from tests.journal.test_basis import lived

PAGE = 20


class Counted:
    """How many pairs each read transaction gave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self.reads = self.snapshots = 0
        for name in ("scan", "get_many"):
            monkeypatch.setattr(LmdbStore, name, self._counting(getattr(LmdbStore, name)))
        monkeypatch.setattr(LmdbStore, "snapshot", self._noting(LmdbStore.snapshot))

    def _counting(self, read: Any) -> Any:
        def counted(*args: Any, **options: Any) -> Any:
            found = read(*args, **options)
            self.reads += 1
            self.most = max(self.most, len(found))
            return found

        return counted

    def _noting(self, snapshot: Any) -> Any:
        @contextmanager
        def noted(store: LmdbStore) -> Iterator[None]:
            self.snapshots += 1
            with snapshot(store):
                yield

        return noted


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store, _, _, _ = lived(3, prunes=False)
    store.driver = None
    save(store, tmp_path / "jobs")  # type: ignore[arg-type]
    return tmp_path / "jobs"


def test_at_diff_and_whatif_read_a_page_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for where, name in ((basis, "_PAGE"), (past, "_PAGE"), (changes, "_PAGE"), (log, "READ_CHUNK"), (reading, "PAGE")):
        monkeypatch.setattr(where, name, PAGE)
    with open_journal(path) as view:
        last = view.last_seq
        counted = Counted(monkeypatch)
        for ended in (True, False):
            for seq in (1, last - 5, last):
                view.state_at(seq, ended=ended)
        assert list(view.diff(last - 20, last))
        assert list(view.diff(1, last))
        what_if(view, "mail", [Variant("more", settings(["concurrency=16"]))])
        what_if(view, "mail", [], since=last // 2, until=last - 3)
    assert counted.reads > 100
    assert counted.most <= PAGE
    assert counted.snapshots == 0

"""Whose files lie in the directory: a journal, the rest of one, another program's database, nothing at all."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from journeyman.journal.errors import JournalCorrupt, JournalError
from journeyman.journal.identity import read_identity
from journeyman.journal.opening import open_store


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "var" / "jobs"


@pytest.fixture
def filled(journal: Path) -> Path:
    """A closed journal."""
    open_store(journal).close()
    return journal


@pytest.mark.parametrize("what", ["empty", "missing"])
def test_lost_data_is_not_a_new_journal(filled: Path, what: str) -> None:
    if what == "empty":
        (filled / "data.mdb").write_bytes(b"")
    else:
        (filled / "data.mdb").unlink()
    with pytest.raises(JournalCorrupt, match=what):
        open_store(filled)
    shutil.rmtree(filled)  # as the message says
    open_store(filled).close()


@pytest.mark.parametrize("witness", ["ballast", "owner.lock"])
def test_lost_data_and_a_lost_identity_are_no_new_journal_either(filled: Path, witness: str) -> None:
    (filled / "data.mdb").write_bytes(b"")
    for name in {"identity", "ballast", "owner.lock"} - {witness}:
        (filled / name).unlink()
    with pytest.raises(JournalCorrupt, match=f"`{witness}` says that a journal was here"):
        open_store(filled)
    assert (filled / "data.mdb").stat().st_size == 0


@pytest.mark.parametrize("left", [{}, {"data.mdb": b""}, {"data.mdb": b"", "owner.lock": b"open pid 77\n", "lock.mdb": b"x" * 99}])
def test_nothing_and_what_a_kill_leaves_of_the_making_are_a_new_journal(journal: Path, left: dict[str, bytes]) -> None:
    journal.mkdir(0o700, parents=True)
    for name, data in left.items():
        (journal / name).write_bytes(data)
    store = open_store(journal)
    assert read_identity(store) is not None
    store.close()


FOREIGN = """
import lmdb, sys
with lmdb.open(sys.argv[1], max_dbs=4) as env, env.begin(write=True) as txn:
    if sys.argv[2] == "named":
        for name in (b"events", b"meta", b"users"):
            txn.put(b"k", b"v", db=env.open_db(name, txn=txn))
    else:
        txn.put(b"k", b"v")
"""


@pytest.mark.parametrize("kind", ["plain", "named"])
def test_the_database_of_another_program_is_told_and_left_alone(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "cache"
    place.mkdir(0o700)
    subprocess.run([sys.executable, "-c", FOREIGN, str(place), kind], check=True)
    (place / "lock.mdb").unlink()
    (place / "data.mdb").chmod(0o640)
    before = (place / "data.mdb").read_bytes()
    for readonly in (False, True):
        with pytest.raises(JournalError, match="another program, not a Journeyman journal") as told:
            open_store(place, readonly=readonly)
        assert not isinstance(told.value, JournalCorrupt)
    assert [path.name for path in place.iterdir()] == ["data.mdb"]
    assert (place / "data.mdb").read_bytes() == before
    assert stat.S_IMODE((place / "data.mdb").stat().st_mode) == 0o640


def test_mixed_files_are_refused_and_a_lost_sidecar_is_written_again(filled: Path, tmp_path: Path) -> None:
    open_store(tmp_path / "other").close()
    good = (filled / "identity").read_bytes()
    shutil.copy(tmp_path / "other" / "identity", filled / "identity")
    with pytest.raises(JournalCorrupt, match="two journals"):
        open_store(filled)
    (filled / "identity").unlink()
    open_store(filled).close()
    assert (filled / "identity").read_bytes() == good

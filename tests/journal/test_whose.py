"""Whose files lie in the directory: a journal, the rest of one, another program's database, nothing at all."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from journeyman.journal.errors import JournalCorrupt, JournalError
from journeyman.journal.identity import read_identity
from journeyman.journal.opening import open_store
from journeyman.journal.shrink import shrink
from journeyman.journal.wal import WriteAheadLog


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


# --- another user's -----------------------------------------------------------------------------------------------------------

SERVICE = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes user")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A closed journal of the user SERVICE, without lock.mdb, in a place that it can reach."""
    path = tmp_path / "jobs"
    open_store(path).close()
    (path / "lock.mdb").unlink()
    for each in (path, *path.iterdir()):
        os.chown(each, SERVICE, SERVICE)
    for parent in list(path.parents)[:-2]:
        if parent.stat().st_uid == 0 and str(parent) != "/tmp":
            parent.chmod(0o755)
    return path


def owners(path: Path) -> dict[str, tuple[int, int]]:
    return {each.name: (each.stat().st_uid, each.stat().st_gid) for each in path.iterdir()}


def opened_by_service(path: Path) -> str:
    """What its engine says; nothing if all is well."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(SERVICE)
            os.setuid(SERVICE)
            open_store(path, examine_first="never").close()
        except BaseException as failure:
            os.write(into, f"{type(failure).__name__}: {failure}".encode())
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with os.fdopen(out) as file:
        return file.read()


def looked_into(path: Path) -> None:
    open_store(path, readonly=True).close()


def opened(path: Path) -> None:
    for name in ("ballast", "identity", "entered", "owner.lock"):
        (path / name).unlink()
    with pytest.warns(RuntimeWarning, match=f"belongs to user {SERVICE}"):
        store = open_store(path)
    with_log = WriteAheadLog(str(path))
    assert with_log.lay_out(0)
    with_log.close(in_order=False)
    store.close()


@as_root
@pytest.mark.parametrize("tool", [shrink, looked_into, opened])
def test_what_root_does_leaves_a_journal_to_whom_it_belongs(theirs: Path, tool: Callable[[Path], object]) -> None:
    tool(theirs)
    assert set(owners(theirs).values()) == {(SERVICE, SERVICE)}
    looked_into(theirs)
    assert opened_by_service(theirs) == ""


@as_root
def test_nothing_is_given_away_that_was_there_before(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"")
    (theirs / "entered").unlink()
    os.link(tmp_path / "secret", theirs / "entered")
    with pytest.warns(RuntimeWarning):
        open_store(theirs).close()
    assert (tmp_path / "secret").stat().st_uid == 0


@as_root
@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb", "owner.lock", "identity"])
def test_a_file_of_roots_is_named_with_how_to_give_it_back(theirs: Path, name: str) -> None:
    open_store(theirs, readonly=True).close()
    os.chown(theirs / name, 0, 0)
    said = opened_by_service(theirs)
    assert f"`chown {SERVICE}:{SERVICE} {theirs / name}`" in said
    assert "belongs to user 0" in said

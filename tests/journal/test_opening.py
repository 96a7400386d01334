"""The safe open: permissions, locks, lost and damaged files, full disks, versions."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from journeyman.journal import filesystem, opening
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked, JournalVersion
from journeyman.journal.identity import identity_batch, read_identity
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.lock import OwnerLock
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.migrate import migrate
from journeyman.journal.opening import open_store, prepare_identity
from journeyman.journal.recovery import recover
from journeyman.journal.store import Batch, Table
from tests.journal.driver import Driver, commit
from tests.journal.store_contract import append, outcome


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "var" / "jobs"


@pytest.fixture
def filled(journal: Path) -> Path:
    """A closed journal with history, checkpoint and tail."""
    store = open_store(journal)
    driver = Driver(store, 7)
    for _ in range(400):
        driver.act()
    driver.whole_checkpoint(100)
    for _ in range(100):
        driver.act()
    driver.flush()
    store.close()
    return journal


def test_only_the_owner_may_read_it(journal: Path) -> None:
    before = os.umask(0)
    try:
        store = open_store(journal)
    finally:
        os.umask(before)
    append(store, (Table.META, [(b"k", b"v")], False))
    store.close()
    assert mode(journal) == 0o700
    assert {name.name: mode(name) for name in journal.iterdir()} == dict.fromkeys(
        ("data.mdb", "lock.mdb", "owner.lock", "identity", "entered", "ballast"), 0o600
    )


def test_others_write_access_is_warned_about(filled: Path) -> None:
    filled.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="written by others"):
        open_store(filled).close()


def test_a_second_owner_is_refused_with_the_pid(journal: Path) -> None:
    store = open_store(journal)
    with pytest.raises(JournalLocked, match=f"{os.getpid()} \\(this process\\)") as caught:
        open_store(journal)
    assert caught.value.pid == os.getpid()
    code = """
import sys
from journeyman.journal.opening import open_store
try:
    open_store(sys.argv[1])
except Exception as e:
    print(type(e).__name__, e.pid)
"""
    said = subprocess.run([sys.executable, "-c", code, journal], capture_output=True, text=True, check=True, env=environment()).stdout
    assert said.split() == ["JournalLocked", str(os.getpid())]
    store.close()
    open_store(journal).close()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def test_a_killed_owner_leaves_no_lock(journal: Path) -> None:
    child = os.fork()
    if child == 0:
        open_store(journal)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    open_store(journal).close()


def test_a_journal_killed_while_being_made_is_made_anew(journal: Path) -> None:
    journal.parent.mkdir()
    journal.mkdir(mode=0o700)
    bare = LmdbStore(str(journal))  # tables, but no identity yet
    bare.close()
    store = open_store(journal)
    assert read_identity(store) is not None
    store.close()


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("")
    with pytest.raises(JournalError):
        open_store(tmp_path / "jobs")


@pytest.mark.skipif(os.geteuid() != 0, reason="changes user")
def test_a_directory_without_permission(filled: Path) -> None:
    for parent in list(filled.parents)[:-2]:
        if parent.stat().st_uid == 0 and str(parent) != "/tmp":
            parent.chmod(0o755)
    child = os.fork()
    if child == 0:
        code = 9
        try:
            os.setuid(65534)
            warnings.simplefilter("ignore")
            try:
                open_store(filled)
            except JournalError as refusal:
                code = 0 if "65534" in str(refusal) else 8
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_network_file_systems_are_refused(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "type_of", lambda path: 0x6969)
    with pytest.raises(JournalError, match="NFS"):
        open_store(journal)
    open_store(journal, allow_unsafe_fs=True).close()


def test_file_systems_have_a_type(tmp_path: Path) -> None:
    assert filesystem.type_of(str(tmp_path)) not in (None, 0)
    assert filesystem.type_of("/proc") == 0x9FA0
    assert filesystem.type_of("/nowhere/at/all") is None


def test_readonly(filled: Path) -> None:
    store = open_store(filled, readonly=True)
    assert recover(store).journal.next_seq > 100
    with pytest.raises(JournalError, match="reading only"):
        store.begin_append(Batch(), lambda failure: None)
    store.close()
    with pytest.raises(JournalError, match="no journal"):
        open_store(filled.parent / "nothing", readonly=True)


def test_values_are_checked(journal: Path) -> None:
    with pytest.raises(ValueError, match="durability"):
        open_store(journal, durability="none")  # type: ignore[arg-type]


def test_relaxed_durability_opens(journal: Path) -> None:
    store = open_store(journal, durability="relaxed")
    append(store, (Table.META, [(b"k", b"v")], False))
    store.close()


# --- versions ---------------------------------------------------------------------------------------------------------------


def test_a_newer_format_is_refused_by_name(filled: Path) -> None:
    store = open_store(filled)
    identity = read_identity(store)
    assert identity is not None
    assert (identity.format, len(identity.journal), identity.lmdb[:2]) == (1, 16, [0, 9])
    commit(store, identity_batch(identity._replace(format=3)))
    store.close()
    with pytest.raises(JournalVersion, match=r"format 3.*up to 1"):
        open_store(filled)


@pytest.mark.parametrize(("field", "readable"), [("compat", True), ("ro", True), ("incompat", False)])
def test_feature_flags(filled: Path, field: str, readable: bool) -> None:
    store = open_store(filled)
    identity = read_identity(store)
    assert identity is not None
    commit(store, identity_batch(identity._replace(**{field: ["holograms"]})))
    store.close()
    if field == "compat":
        open_store(filled).close()
    else:
        with pytest.raises(JournalVersion, match="holograms"):
            open_store(filled)
    if readable:
        open_store(filled, readonly=True).close()
    else:
        with pytest.raises(JournalVersion, match="holograms"):
            open_store(filled, readonly=True)


def test_migrations_run_in_order_and_are_recorded() -> None:
    store = MemoryStore()
    prepare_identity(store)
    identity = read_identity(store)
    assert identity is not None
    ran: list[int] = []
    done = migrate(store, identity, {1: lambda s: ran.append(1), 2: lambda s: ran.append(2)}, target=3)
    assert (ran, done.format) == ([1, 2], 3)
    assert read_identity(store) == done
    with pytest.raises(JournalVersion, match="format 3"):
        migrate(store, done, {}, target=4)
    with pytest.raises(JournalVersion, match="up to 1"):
        prepare_identity(store)


# --- damaged files ----------------------------------------------------------------------------------------------------------

OPEN = """
import sys
from journeyman.journal.errors import JournalCorrupt, JournalError
from journeyman.journal.opening import open_store
from journeyman.journal.recovery import fold_everything, recover, verify_rows
from journeyman.journal.store import Table
try:
    store = open_store(sys.argv[1])
    found = recover(store)
    fold_everything(found.journal)
    verify_rows(store, found.tally)
    store.close()
except JournalError as error:
    print(type(error).__name__)
    sys.exit(3)
print("sound", found.journal.next_seq)
"""


def open_in_child(path: Path) -> tuple[int, str]:
    child = subprocess.run([sys.executable, "-c", OPEN, path], capture_output=True, text=True, env=environment(), timeout=60, check=False)
    return child.returncode, child.stdout + child.stderr[-500:]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_file_is_an_error_not_a_dead_interpreter(filled: Path, part: float) -> None:
    sound = open_in_child(filled)[1]
    data = (filled / "data.mdb").read_bytes()
    (filled / "data.mdb").write_bytes(data[: int(len(data) * part) or 1])
    code, said = open_in_child(filled)
    if part > 0.95 and code == 0:  # the last pages may be free ones
        assert said == sound
    else:
        assert code == 3, (part, code, said)
        assert "JournalCorrupt" in said


def test_truncation_after_a_kill_is_found_too(filled: Path) -> None:
    data = (filled / "data.mdb").read_bytes()
    (filled / "owner.lock").write_text("open pid 1\n")
    (filled / "data.mdb").write_bytes(data[: len(data) // 2])
    code, said = open_in_child(filled)
    assert code == 3, said


def test_flipped_bytes_never_kill_and_never_lie(filled: Path) -> None:
    """Whatever opens tells the same history; what does not, says so."""
    data = (filled / "data.mdb").read_bytes()
    chance = random.Random(5)
    sound = open_in_child(filled)[1]
    assert sound.startswith("sound")
    refused = 0
    for round_ in range(24):
        damaged = bytearray(data)
        where = chance.randrange(len(data)) if round_ % 2 else chance.randrange(len(data) // 4096) * 4096 + chance.randrange(40)
        damaged[where] ^= chance.randrange(1, 256)
        (filled / "data.mdb").write_bytes(damaged)
        code, said = open_in_child(filled)
        assert code in (0, 3), (where, code, said)
        if code == 0:
            assert said == sound, where
        refused += code == 3
    assert refused > 2


# --- a full disk ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True, check=False)
        if shutil.which("mount")
        else None
    )
    if made is None or made.returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_and_nothing_is_lost(small_disk: Path) -> None:
    store = open_store(small_disk / "jobs")
    stored = 0
    failure: BaseException | None = None
    while failure is None:
        batch = Batch()
        batch.put(Table.PAYLOADS, [((stored + 1).to_bytes(8, "big"), os.urandom(50_000))], append=True)
        failure = outcome(store, batch)
        stored += failure is None
    assert isinstance(failure, JournalFull) and "`journeyman backup" in str(failure), failure
    assert "free some space" in str(failure)
    store.close()
    filler(small_disk)
    assert isinstance(fail_on_full_disk(small_disk / "jobs", batch), JournalError)
    (small_disk / "filler").unlink()
    store = open_store(small_disk / "jobs")
    assert store.count(Table.PAYLOADS) in (stored, stored + 1)
    batch = Batch()
    batch.delete(Table.PAYLOADS, [n.to_bytes(8, "big") for n in range(1, stored // 2)])
    assert outcome(store, batch) is None
    append(store, (Table.PAYLOADS, [((10**6).to_bytes(8, "big"), b"again")], True))
    store.close()


def fail_on_full_disk(journal: Path, batch: Batch) -> BaseException | None:
    """There may be no room even to say who owns it."""
    try:
        store = open_store(journal)
    except JournalError as refusal:
        return refusal
    failure = outcome(store, batch)
    store.close()
    return failure


def filler(disk: Path) -> None:
    with open(disk / "filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_the_ballast_gives_way(journal: Path) -> None:
    store = open_store(journal)
    assert (journal / "ballast").stat().st_blocks * 512 >= 4 << 20
    assert store.give_way() == 4 << 20
    assert store.give_way() == 0
    store.close()
    open_store(journal).close()
    assert (journal / "ballast").exists()


@pytest.mark.parametrize("text", [b"", b"open pid 1\n", b"closed 8192 17\n"])
def test_an_owner_that_has_not_said_who_it_is_yet_is_named(tmp_path: Path, text: bytes) -> None:
    """It holds the lock, and still looks at the data: the text in the file is the last owner's."""
    (tmp_path / "owner.lock").write_bytes(text)
    fd = os.open(tmp_path / "owner.lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.raises(JournalLocked, match=f"process {os.getpid()}") as refused:
            OwnerLock(str(tmp_path))
        assert refused.value.pid == os.getpid()
    finally:
        os.close(fd)


@pytest.mark.parametrize("has_looked", [True, False])
def test_what_moves_under_an_engine_that_has_begun_is_not_called_damaged(
    filled: Path, has_looked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool that looked while an engine came believes the engine, once that has looked itself."""
    held: list[OwnerLock] = []

    def moving(directory: str, *, thorough: bool) -> None:
        held.append(OwnerLock(directory))
        if has_looked:
            held[0].own()
        raise JournalCorrupt("pages that were written while they were read")

    (filled / "owner.lock").write_text("open pid 1\n")
    monkeypatch.setattr(opening, "examine", moving)
    with nullcontext() if has_looked else pytest.raises(JournalCorrupt, match="written while"):
        open_store(filled, readonly=True).close()
    held[0].release(clean=False)

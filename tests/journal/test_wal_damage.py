"""The write-ahead log after a kill, and after damage: what was acknowledged is there, or the journal is refused by name."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import cast

import pytest

from journeyman.journal import joining, writing
from journeyman.journal.errors import JournalCorrupt, JournalError
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.opening import open_store
from journeyman.journal.prover import verify
from journeyman.journal.recovery import fold_everything, recover
from journeyman.journal.store import Table
from journeyman.journal.wal import (
    ACKED,
    FRONT,
    WAL,
    WAL_BYTES,
    acknowledged,
    decode_log,
    encode_logged,
    loggable,
    read_log,
    salt_of,
    stragglers,
)
from tests.journal.logged import (
    Submitter,
    ask,
    bare,
    child,
    copied,
    killed,
    log_of,
    made_left,
    misplaced,
    poke,
    proven,
    refused,
    said,
    within,
)
from tests.journal.store_contract import append, numbered


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Not to be changed."""
    return made_left(tmp_path_factory.mktemp("left") / "jobs")


# --- kills --------------------------------------------------------------------------------------------------------------------


def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, dice, known, logs = tmp_path / "jobs", random.Random(7), 0, 0
    for round in range(18):
        with child("commit", path, round) as process:
            if round % 4 != 1:  # else it may be killed while it opens
                known = int(said(process))
            end = time.monotonic() + dice.random() * 0.3
            while round % 4 != 1 and time.monotonic() < end:
                known = int(said(process))
            time.sleep(max(0, end - time.monotonic()))
            process.kill()
            for line in process.stdout or ():  # acknowledged as well, though nobody had listened yet
                known = int(line) if line.endswith("\n") else known
        store = LmdbStore(str(path), readonly=True)
        logs += bool(store.logged())
        store.close()
        for readonly in (True, False) if round % 3 == 0 else (True,):  # else the next child takes over what the log holds
            opened = open_store(path, readonly=readonly)
            newest = proven(opened)
            assert known <= newest <= known + 41
            assert recover(opened).state.facts() == fold_everything(recover(opened).journal).facts()
            opened.close()
    assert logs, "some kills left a log that was not empty"
    assert verify(path).sound


@pytest.mark.parametrize("last_commit", ["small", "large"])
def test_a_log_that_data_has_taken_in_already_is_no_hindrance(last_commit: str, tmp_path: Path) -> None:
    """The usual kill: of an engine that is idle."""
    path = tmp_path / "jobs"
    last = killed(path, settled=20, logged=0)  # the log went to data.mdb with a larger commit
    if last_commit == "small":
        with child("commit", path, 1) as process:
            last = int(said(process))
    assert log_of(path)
    assert not refused(path, last)
    assert not refused(path, last)


def test_the_next_owner_lays_out_a_log_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SOON", 0)
    monkeypatch.setattr(writing, "QUICK", 0)
    monkeypatch.setattr(writing, "PAUSE", 3600)
    path = tmp_path / "jobs"
    killed(path)
    store = open_store(path, examine_first="never")
    driver = Submitter(store, 3)
    for _ in range(5):
        last = driver.commit()
    assert [each.last for each in log_of(path)][-1] == last
    assert acknowledged(str(path)) == last
    store.close()
    assert bare(path)[1] == last


# --- damage -------------------------------------------------------------------------------------------------------------------


def test_a_flipped_byte_is_never_a_silent_loss(left: tuple[Path, int], tmp_path: Path) -> None:
    source, last = left
    newest, end, dice = log_of(source)[-2].end, log_of(source)[-1].end, random.Random(3)
    data = read_log(str(source))
    for at in sorted({*range(40), *(each.end for each in log_of(source)[:-1]), *dice.sample(range(end), 150)}):
        path = copied(source, tmp_path / "jobs")
        poke(path, at, bytes([data[at] ^ 1 << dice.randrange(8)]))
        if at < newest and dice.random() < 0.5:
            (path / ACKED).unlink()  # as a power cut may do
        assert refused(path, last), at


def test_damage_behind_the_newest_commit_does_no_harm(left: tuple[Path, int], tmp_path: Path) -> None:
    source, last = left
    end, dice = log_of(source)[-1].end, random.Random(4)
    for at in [end, end + 1, end + 36, *dice.sample(range(end, WAL_BYTES), 25)]:
        path = copied(source, tmp_path / "jobs")
        poke(path, at, dice.randbytes(dice.choice((1, 30, 500)))[: WAL_BYTES - at])
        assert not refused(path, last), at


def test_a_log_cut_short_is_never_a_silent_loss(left: tuple[Path, int], tmp_path: Path) -> None:
    source, last = left
    ends = [each.end for each in log_of(source)]
    for size in sorted({0, 1, 35, 36, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends), *range(0, ends[-1], 300)}):
        path = copied(source, tmp_path / "jobs")
        with (path / WAL).open("r+b") as file:
            file.truncate(size)
        assert refused(path, last) == (size < ends[-1]), size


def test_a_log_cut_out_in_the_middle_is_never_a_silent_loss(left: tuple[Path, int], tmp_path: Path) -> None:
    source, last = left
    data, ends = read_log(str(source)), [0] + [each.end for each in log_of(source)]
    for first in range(10):
        path = copied(source, tmp_path / "jobs")
        (path / WAL).write_bytes(data[: ends[first]] + data[ends[first + 1] :])
        assert refused(path, last), first
        if first < 9:  # nothing but that word tells of the newest
            path = copied(source, tmp_path / "jobs")
            (path / WAL).write_bytes(data[: ends[first]] + data[ends[first + 1] :])
            (path / ACKED).unlink()  # as a power cut may do
            assert refused(path, last), first


def test_a_missing_log_is_missed_also_without_what_was_acknowledged(left: tuple[Path, int], tmp_path: Path) -> None:
    path = copied(left[0], tmp_path / "jobs")
    (path / WAL).unlink()
    assert refused(path, left[1])
    (path / ACKED).unlink()
    with pytest.raises(JournalCorrupt, match="missing"):
        open_store(path)
    with pytest.raises(JournalCorrupt, match="missing"):
        open_store(path, readonly=True)


@pytest.mark.parametrize("also", [(), (ACKED,)])
def test_the_log_of_another_journal_is_refused(also: tuple[str, ...], left: tuple[Path, int], tmp_path: Path) -> None:
    path, last = copied(left[0], tmp_path / "jobs"), left[1]
    assert killed(tmp_path / "other", settled=40, seed=2) == last, "the numbers are the same"
    for name in (WAL, *also):
        shutil.copyfile(tmp_path / "other" / name, path / name)
    assert refused(path, last)


@pytest.mark.parametrize("settled", [0, 5])
def test_an_older_data_file_beside_the_log_is_refused(settled: int, tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    store = open_store(path)
    Submitter(store, 3).commit()
    store.close()
    shutil.copyfile(path / "data.mdb", tmp_path / "older")
    last = killed(path, settled=settled)
    shutil.copyfile(tmp_path / "older", path / "data.mdb")
    assert refused(path, last)


def test_an_older_data_file_is_refused_also_if_larger_commits_came_last(tmp_path: Path) -> None:
    """They are not in the log, and the log goes with the older file."""
    path = tmp_path / "jobs"
    with child("leave", path, 0, 0, 1) as process:
        said(process)
        shutil.copyfile(path / "data.mdb", tmp_path / "older")  # the log is empty, and nobody writes
        for _ in range(5):
            ask(process, "small")
        last = int(ask(process, "large"))
    shutil.copyfile(tmp_path / "older", path / "data.mdb")
    assert refused(path, last)


# --- the newest commit, torn --------------------------------------------------------------------------------------------------


def newer_commit(source: Path, scratch: Path) -> bytes:
    """One that fits behind the log, valid in every way."""
    store = open_store(copied(source, scratch), examine_first="never")
    driver = Submitter(store, 9, boot_events=False)
    driver.submit()
    found = loggable(driver.journal.seal(driver.pending, driver.payloads), driver.journal.sealed - 1)
    store.close()
    assert found is not None
    salt = salt_of(read_log(str(source)))
    assert salt is not None
    return encode_logged(*found, salt)


def test_a_torn_commit_that_nobody_was_told_of_does_no_harm(left: tuple[Path, int], tmp_path: Path) -> None:
    source, last = left
    end, commit = log_of(source)[-1].end, newer_commit(source, tmp_path / "scratch")
    assert acknowledged(str(source)) == last
    for many in [*range(0, len(commit), 9), len(commit) - 1]:
        path = copied(source, tmp_path / "jobs")
        poke(path, end, commit[:many])
        assert not refused(path, last), many
    path = copied(source, tmp_path / "jobs")
    poke(path, end, commit)
    assert log_of(path)[-1].last == last + 1
    assert not refused(path, last + 1), "whole, it may stay"


def test_pages_of_the_newest_commit_may_come_to_the_disk_in_any_order(left: tuple[Path, int], tmp_path: Path) -> None:
    source, last = left
    end, commit = log_of(source)[-1].end, newer_commit(source, tmp_path / "scratch")
    for hole in range(0, len(commit), 40):
        path = copied(source, tmp_path / "jobs")
        poke(path, end, commit[:hole])
        poke(path, end + hole + 40, commit[hole + 40 :])
        assert not refused(path, last), hole


def test_verify_finds_what_an_opening_would_refuse(left: tuple[Path, int], tmp_path: Path) -> None:
    path = copied(left[0], tmp_path / "jobs")
    assert verify(path).sound
    poke(path, log_of(path)[-1].end - 1, b"?")
    assert [finding.table for finding in verify(path).findings] == ["FILE"]


def test_an_engine_that_came_and_went_between_two_readings_is_no_damage(
    left: tuple[Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(left[0], tmp_path / "jobs")
    looks: list[int] = []

    def read(directory: str) -> bytes:
        log = read_log(directory)
        looks.append(len(log))
        if len(looks) == 1:
            killed(path, logged=3, seed=9)
        return log

    reader = LmdbStore(str(path), readonly=True, locking=False)
    monkeypatch.setattr(joining, "read_log", read)
    joining.check_log(reader)
    assert len(looks) == 2, "the first look found the log of one boot and the data of another"
    reader.close()


def test_a_commit_is_shown_elsewhere_when_it_was_answered(tmp_path: Path) -> None:
    """Until then it may not be on the disk.  What a dead engine left counts."""
    path = tmp_path / "jobs"
    with child("leave", path, 20, 5, 1) as process:
        last = int(said(process))
        poke(path, log_of(path)[-1].end, newer_commit(path, tmp_path / "scratch"))
        assert log_of(path)[-1].last == last + 1
        assert newest(path) == last
    assert newest(path) == last + 1


def newest(path: Path) -> int:
    store = LmdbStore(str(path), readonly=True)
    found = store.last(Table.EVENTS)
    store.close()
    assert found is not None
    return int.from_bytes(found[0], "big")


def test_nothing_that_a_payload_holds_is_taken_for_a_commit() -> None:
    salt, one, later = b"a salt of 12", (1).to_bytes(8, "big"), (1_000_000).to_bytes(8, "big")
    forged = encode_logged([(later, bytes(30))], [], b"another salt")
    log = b"JWAL" + salt + encode_logged([(one, bytes(30))], [(one, forged * 8)], salt)
    newer = encode_logged([((2).to_bytes(8, "big"), bytes(30))], [], salt)
    for at in range(FRONT, len(log) - len(newer)):
        after = log[:at] + newer + log[at + len(newer) :]
        assert not [each for each in stragglers(after, decode_log(after)) if each.first > 2]


def test_what_comes_seldom_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PAUSE", 0.0)
    monkeypatch.setattr(writing, "SOON", 0)
    store = LmdbStore(str(tmp_path))
    for n in range(1, 20):
        append(store, (Table.EVENTS, numbered(n, n), True))
        assert store.newest_in_data() == n
    assert read_log(str(tmp_path)) and not log_of(tmp_path)
    store.close()


def test_a_journal_is_given_back_although_its_files_cannot_be_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SOON", 0)
    monkeypatch.setattr(writing, "QUICK", 0)
    store = cast("LmdbStore", open_store(tmp_path / "jobs", examine_first="never"))
    driver = Submitter(store, 1)
    last = [driver.commit() for _ in range(5)][-1]
    assert read_log(str(tmp_path / "jobs"))
    os.close(store._writing._log._fd)
    os.close(store._headroom._fd)
    with pytest.raises(JournalError):
        driver.commit()
    store.close()
    again = open_store(tmp_path / "jobs")
    assert again.get(Table.EVENTS, last.to_bytes(8, "big")) is not None
    again.close()


# --- what stands in a file's place --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in (WAL, ACKED, "entered", "identity", "owner.lock") for kind in ("folder", "fifo")]
    + [(name, "unreadable") for name in (WAL, ACKED, "identity")],
)
def test_what_is_no_file_is_refused_and_makes_nobody_wait(name: str, kind: str, left: tuple[Path, int], tmp_path: Path) -> None:
    path = misplaced(copied(left[0], tmp_path / "jobs"), name, kind)
    with within(20), pytest.raises(JournalError, match=name) as refusal:
        open_store(path, examine_first="never").close()
    assert ("cannot be read" if kind == "unreadable" else "Move it away") in str(refusal.value)
    if name in (WAL, ACKED):
        with within(20), pytest.raises(JournalError, match=name) as refusal:  # told by a child
            open_store(path, readonly=True)
        assert isinstance(refusal.value, JournalCorrupt) == (kind != "unreadable")
        assert "exit" not in str(refusal.value) and "repair" in str(refusal.value)

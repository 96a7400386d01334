"""Who the copies of a journal are: the same journal, until they go their own way."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from journeyman.engine import Engine
from journeyman.journal.backup import backup
from journeyman.journal.identity import Identity, read_identity
from journeyman.journal.prover import verify
from journeyman.journal.rebuild import import_journal
from journeyman.journal.repair import repair
from journeyman.journal.shrink import shrink
from journeyman.journal.view import open_journal
from tests.cli.journals import called, filled, mail_queue, report_queue


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return filled(tmp_path / "jobs", 5)


def identity(path: Path) -> Identity:
    with open_journal(path) as view:
        found = read_identity(view.store)
    assert found is not None
    return found


def head(path: Path) -> str:
    verdict = verify(path)
    assert verdict.sound
    return str(verdict.head)


def opened_and_closed(path: Path) -> None:
    async def main() -> None:
        async with Engine(path, [mail_queue(), report_queue()]):
            pass

    trio.run(main)


def imported(original: Path, copy: Path) -> None:
    file = copy.with_name("jobs.cbor")
    assert called("export", original, file, "--reveal").returncode == 0
    import_journal(file, copy)


@pytest.mark.parametrize("make", [backup, imported])
def test_a_copy_is_its_journal_until_it_goes_its_own_way(make: object, original: Path, tmp_path: Path) -> None:
    assert callable(make)
    make(original, tmp_path / "copy")
    known, noted = identity(original), head(original)
    assert identity(tmp_path / "copy") == known
    assert head(tmp_path / "copy") == noted
    backup(tmp_path / "copy", tmp_path / "of the copy")  # reading changes nothing
    assert identity(tmp_path / "copy") == identity(tmp_path / "of the copy") == known
    lineages = {known.lineage}
    for name in ("copy", "of the copy"):
        opened_and_closed(tmp_path / name)
        now = identity(tmp_path / name)
        assert now._replace(lineage=known.lineage) == known
        lineages.add(now.lineage)
        opened_and_closed(tmp_path / name)
        assert identity(tmp_path / name) == now, "its own, for good"
        assert not (tmp_path / name / "copied").exists()
        seq = int(noted.partition(":")[0])
        with open_journal(tmp_path / name) as copy, open_journal(original) as view:
            assert copy.records(0, seq, 10_000) == view.records(0, seq, 10_000)
    assert len(lineages) == 3
    opened_and_closed(original)
    assert identity(original) == known


def test_a_compacted_journal_is_the_same(original: Path) -> None:
    known, noted = identity(original), head(original)
    shrink(original)
    opened = identity(original)
    assert (opened, head(original)) == (known, noted)
    opened_and_closed(original)
    assert identity(original) == known


def test_a_repaired_journal_is_a_new_one(original: Path, tmp_path: Path) -> None:
    known, noted = identity(original), head(original)
    repair(original, tmp_path / "repaired")
    made = identity(tmp_path / "repaired")
    assert made.journal != known.journal and made.lineage != known.lineage
    assert head(tmp_path / "repaired") == noted, "nothing was lost, so a head noted of the damaged one holds for it"

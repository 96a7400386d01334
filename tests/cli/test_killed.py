"""backup, compact, import, repair killed or stopped at any point: what is there afterwards is whole, and not in the way of the next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from journeyman.journal.backup import backup
from journeyman.journal.rebuild import import_journal
from journeyman.journal.shrink import shrink
from journeyman.journal.view import open_journal
from tests.cli.journals import filled, journeyman

FATAL = Path(__file__).with_name("fatal.py")
# First step and stride: few enough points to be quick, the last steps (the renames) among them.
KILLS = {"backup": (3, 8), "compact": (8, 6), "import": (4, 8), "repair": (5, 9)}
STOPS = {"backup": (5, 11), "compact": (9, 8), "import": (5, 11), "repair": (4, 11)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal and its export."""
    folder = tmp_path_factory.mktemp("killed")
    filled(folder / "jobs")
    assert journeyman("export", folder / "jobs", folder / "export.cbor", "--reveal").returncode == 0
    return folder


def points(work: str, signal: str, source: Path, folder: Path) -> list[tuple[str, str]]:
    """How each attempt ended, and what it left."""
    first, stride = (KILLS if signal == "SIGKILL" else STOPS)[work]
    command = [sys.executable, FATAL, work, signal, source, folder, str(first), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    return [(end, left.strip()) for _, end, left in lines]


@pytest.mark.parametrize("work", list(KILLS))
def test_a_kill_at_any_point_leaves_whole_journals(work: str, source: Path, tmp_path: Path) -> None:
    *killed, (end, left) = points(work, "SIGKILL", source, tmp_path / "work")
    assert end == "0" and left == ("" if work == "compact" else "made")
    assert len(killed) >= 2 and {end for end, _ in killed} == {"-9"}
    assert any(left for _, left in killed), "no kill came while there was something to leave"


@pytest.mark.parametrize("work", list(KILLS))
def test_ctrl_c_leaves_nothing_behind(work: str, source: Path, tmp_path: Path) -> None:
    *stopped, (end, _) = points(work, "SIGINT", source, tmp_path / "work")
    assert end == "0"
    assert {end for end, _ in stopped} == {"130"} and ("130", "") in stopped
    assert {left for _, left in stopped} <= {"", "made"}  # made, and whole, if it came at the very rename


def test_what_a_kill_has_left_is_not_in_the_way(source: Path, tmp_path: Path) -> None:
    (tmp_path / "made.part").mkdir(mode=0o700)
    (tmp_path / "made.part" / "data.mdb").write_bytes(b"half of it")
    backup(source / "jobs", tmp_path / "made")
    (tmp_path / "made" / "compacting").mkdir()
    (tmp_path / "made" / "compacting" / "data.mdb").write_bytes(b"half of it")
    shrink(tmp_path / "made")
    (tmp_path / "again.part").mkdir()
    (tmp_path / "again.part" / "ballast").write_bytes(b"")
    import_journal(source / "export.cbor", tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "made"]
    assert not (tmp_path / "made" / "compacting").exists()
    for name in ("made", "again"):
        with open_journal(tmp_path / name) as view, open_journal(source / "jobs") as known:
            assert view.last_seq == known.last_seq


def test_a_folder_of_somebody_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "made.part").mkdir()
    (tmp_path / "made.part" / "thesis.txt").write_text("years of work")
    done = journeyman("backup", source / "jobs", tmp_path / "made")
    assert done.returncode == 2
    assert "made.part is in the way" in done.stderr
    assert (tmp_path / "made.part" / "thesis.txt").read_text() == "years of work"

"""Each example prints exactly what the block at its end says; the main job keeps its promises when killed and on odd files."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from journeyman.engine import Engine

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NUMBERED = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
SIMULATED = sorted(EXAMPLES.glob("sim_*.py"))  # tests/sim/test_examples_sim.py has more about them
ODD_NAMES = (
    b"plain",
    b"with space",
    b"back\\slash",
    b"new\nline",
    b"carriage\rreturn",
    b"\xff\xfe not text",
    "snow \N{SNOWMAN}".encode(),
    b"-dash",
)


def expected_output(source: str) -> str:
    """The comment block after the line `# Output:`, which ends the file."""
    _, _, block = source.partition("\n# Output:\n")
    lines = block.splitlines()
    assert lines, "an example ends with its expected output"
    assert all(line == "#" or line.startswith("# ") for line in lines), "nothing follows the expected output"
    return "".join(line[2:] + "\n" for line in lines)


@pytest.mark.parametrize("example", NUMBERED + SIMULATED, ids=lambda path: path.stem)
def test_example_prints_what_it_says(example: Path, tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-W", "error", example], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert ran.stderr == ""
    assert ran.returncode == 0
    assert ran.stdout == expected_output(example.read_text())


def test_examples_are_numbered_without_gaps() -> None:
    assert [int(path.name[:2]) for path in NUMBERED] == list(range(1, len(NUMBERED) + 1))


# --- the main job ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fixity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fixity", EXAMPLES / "fixity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fixity"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def run_fixity(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        EXAMPLES / "fixity.py",
        "tree",
        "--journal",
        "journal",
        "--manifest",
        "manifest",
        "--trace",
        "trace",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=60, check=False)


def sha256sum(place: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sha256sum", *words], capture_output=True, cwd=place, check=False)


def plant(place: Path) -> int:
    """A tree with names that need care; the number of regular files in it."""
    folder = os.fsencode(place / "tree" / "folder")
    os.makedirs(folder)
    for number, name in enumerate(ODD_NAMES):
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(name * number)
    os.symlink(b"plain", os.path.join(folder, b"link"))
    os.symlink(b"nowhere", os.path.join(folder, b"dangling"))
    os.mkfifo(os.path.join(folder, b"pipe"))
    return len(ODD_NAMES)


def test_manifest_is_the_one_of_sha256sum(tmp_path: Path) -> None:
    count = plant(tmp_path)
    ran = run_fixity(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    names = sorted(
        os.fsencode(path.relative_to(tmp_path)) for path in (tmp_path / "tree").rglob("*") if path.is_file() and not path.is_symlink()
    )
    theirs = sha256sum(tmp_path, *map(os.fsdecode, names))
    assert (tmp_path / "manifest").read_bytes() == theirs.stdout
    assert theirs.stdout.count(b"\n") == count
    checked = sha256sum(tmp_path, "--check", "--strict", "manifest")
    assert checked.returncode == 0, checked


def test_second_run_hashes_nothing(tmp_path: Path) -> None:
    count = plant(tmp_path)
    assert run_fixity(tmp_path).returncode == 0
    first = (tmp_path / "manifest").read_bytes()
    again = run_fixity(tmp_path)
    assert again.returncode == 0
    assert f"holds {count} checksums already" in again.stdout
    assert (tmp_path / "manifest").read_bytes() == first
    assert (tmp_path / "trace").read_bytes().count(b"\n") == count


def test_another_check_hashes_anew(tmp_path: Path) -> None:
    count = plant(tmp_path)
    assert run_fixity(tmp_path).returncode == 0
    assert run_fixity(tmp_path, "--check", "next year").returncode == 0
    assert (tmp_path / "trace").read_bytes().count(b"\n") == 2 * count


def test_excluded_directories_are_not_entered(fixity: ModuleType, tmp_path: Path) -> None:
    plant(tmp_path)
    assert list(fixity.files_below(os.fsencode(tmp_path), [b"folder"])) == []


def put(path: bytes, content: bytes) -> None:
    Path(os.fsdecode(path)).write_bytes(content)


async def test_unreadable_files_are_retried_then_put_aside(fixity: ModuleType, tmp_path: Path) -> None:
    there, gone = os.fsencode(tmp_path / "there"), os.fsencode(tmp_path / "gone")
    put(there, b"abc")
    queue, sha256 = fixity.hashing_queue(2)
    async with Engine(tmp_path / "journal", queues=[queue]) as engine:
        report = await fixity.check(engine, sha256, "", [gone, there])
        assert list(report.digests) == [there]
        assert list(report.unreadable) == [gone]
        dead = await engine.list(queue="fixity", state="failed")
        assert [(task.attempt, task.failures, task.error.type) for task in dead if task.error] == [(3, 3, "FileNotFoundError")]
        put(gone, b"back again")
        repaired = await fixity.check(engine, sha256, "", [gone, there], retry=True)
        assert repaired.unreadable == {}
        assert list(repaired.digests) == [gone, there]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file_is_listed_and_the_exit_code_says_so(tmp_path: Path) -> None:
    count = plant(tmp_path)
    (tmp_path / "tree" / "folder" / "plain").chmod(0)
    ran = run_fixity(tmp_path)
    assert ran.returncode == 1
    assert "could not be read" in ran.stderr
    assert (tmp_path / "manifest").read_bytes().count(b"\n") == count - 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_demo_passes() -> None:
    ran = subprocess.run([sys.executable, EXAMPLES / "demo.py"], capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nothing that had been recorded was done twice" in ran.stdout

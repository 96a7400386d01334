"""The wheel installs alone: built from a copy, put into an empty folder, used from there with nothing of the repository in sight."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.sources import LAYERS, ROOT

QUICKSTART = """
import sys, trio, journeyman, journeyman.kernel.events
from journeyman import Context, Engine, Queue

mail = Queue("mail", concurrency=2)

@mail.handler
async def send(ctx: Context, to: str) -> str:
    return f"sent to {to}, attempt {ctx.attempt}"

async def main() -> None:
    async with Engine(sys.argv[1], queues=[mail]) as engine:
        handle = await engine.submit(send, "ada@example.org")
        print(await handle.result(timeout=20))

trio.run(main)
print(journeyman.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in (*LAYERS, "journeyman"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    ran = subprocess.run(build, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (found,) = out.glob("*.whl")
    return found


def test_holds_all_of_it_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in names} == {"journeyman"}
    for layer in LAYERS:
        expected = {f"journeyman/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / layer).rglob("*.py")}
        assert {n for n in names if n.startswith(f"journeyman/{layer}/") and n.endswith(".py")} == expected
        assert f"journeyman/{layer}/py.typed" in names
    drawn = {
        f"journeyman/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "dashboard").rglob("*") if p.suffix in (".html", ".css", ".svg")
    }
    assert len(drawn) > 8
    assert drawn <= set(names)


def test_runs_alone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=60)
    # -S leaves out this environment's own site-packages and with them the editable install; the dependencies are linked in one by one.
    for dependency in map(Path, sys.path):
        if dependency.name == "site-packages":
            for entry in dependency.iterdir():
                if "journeyman" not in entry.name and not (site / entry.name).exists():
                    (site / entry.name).symlink_to(entry)
    program = tmp_path / "quickstart.py"
    program.write_text(QUICKSTART)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))} | {"PYTHONPATH": str(site)}
    run = [sys.executable, "-S", str(program), str(tmp_path / "jobs")]
    ran = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines() == ["sent to ada@example.org, attempt 1", str(site / "journeyman" / "__init__.py")]

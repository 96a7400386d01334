"""Imports point one way: kernel <- journal <- actors <- engine <- the rest.  Each foreign library has its place."""

from __future__ import annotations

import sys
import tomllib

import pytest

from tests.sources import LAYERS, ROOT, Source, imports, sources

BELOW = {
    "kernel": {"kernel"},
    "journal": {"kernel", "journal"},
    "actors": {"kernel", "journal", "actors"},
    "engine": {"kernel", "journal", "actors", "engine"},
    "sim": {"kernel", "journal", "actors", "engine", "sim"},
    "cli": {"kernel", "journal", "actors", "engine", "sim", "cli", "dashboard"},
    "dashboard": {"kernel", "journal", "actors", "engine", "dashboard"},
    "journeyman": {"engine", "cli"},
}
# library -> where it may be imported: a folder, or one file
PLACES = {
    "lmdb": ("journal/lmdb_store.py", "journal/probe.py"),
    "pyarrow": ("journal/parquet.py",),
    "cbor2": ("journal/cbor.py",),
    "trio": ("actors/", "engine/", "sim/", "dashboard/serve.py"),
    "outcome": ("actors/", "sim/scheduler.py"),
    "msgspec": ("engine/annotation.py", "engine/payload.py", "journal/jsonlines.py"),
    "cronsim": ("actors/calendar.py",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "textual": ("cli/live.py",),
    "starlette": ("dashboard/",),
    "anyio": ("dashboard/",),
    "hypercorn": ("dashboard/serve.py",),
    "jinja2": ("dashboard/templating.py",),
    "matplotlib": ("cli/plots.py",),
    "plotly": ("cli/plots.py",),
    "hypothesis": ("sim/strategies.py", "sim/machine.py", "sim/examples.py", "sim/reproduce.py"),
}
# Law 4: time and chance enter the kernel as values.
NOT_IN_THE_KERNEL = {"time", "random", "os", "secrets", "uuid", "threading", "socket", "subprocess", "io", "pathlib", "logging"}
# datetime as a whole can read the clock; `timedelta` is only a number with a unit.
TIMEDELTA_ONLY = ("kernel/duration.py",)


def problems(source: Source) -> list[str]:
    found = []
    for module, line in imports(source.tree):
        top = module.split(".")[0]
        where = f"{source.name}:{line}"
        if top in LAYERS:
            found.append(f"{where}: import journeyman.{module}, not {module}: two names for a file are two copies of its classes")
        if top == "journeyman" and "." in module and module.split(".")[1] in LAYERS:
            layer = module.split(".")[1]
            if layer not in BELOW[source.layer]:
                found.append(f"{where}: {source.layer} may not know {layer}")
        if top in PLACES and not source.name.startswith(PLACES[top]):
            found.append(f"{where}: {top} belongs to {', '.join(PLACES[top])}")
        if source.layer == "kernel":
            if top in NOT_IN_THE_KERNEL or (top != "journeyman" and top not in sys.stdlib_module_names):
                found.append(f"{where}: the kernel is pure, {top} is not for it")
            if top == "datetime" and not (source.name in TIMEDELTA_ONLY and module in ("datetime", "datetime.timedelta")):
                found.append(f"{where}: the kernel is told the time, it does not import datetime")
    return found


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_imports_point_one_way(source: Source) -> None:
    assert problems(source) == []


def test_every_folder_is_packaged_and_typed() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        path.parent.relative_to(ROOT).as_posix() for layer in (*LAYERS, "journeyman") for path in (ROOT / layer).rglob("__init__.py")
    }
    named = {folder if folder == "journeyman" else "journeyman." + folder.replace("/", ".") for folder in folders}
    assert set(config["packages"]) == named
    assert {name: config["package-dir"][name].replace("/", ".") for name in named} == {
        name: name.removeprefix("journeyman.") for name in named
    }
    for layer in (*LAYERS, "journeyman"):
        assert (ROOT / layer / "py.typed").exists(), f"{layer}/py.typed is missing"


def test_the_rule_can_fail() -> None:
    import ast

    bad = "import time\nimport trio\nfrom datetime import datetime\nfrom journeyman.engine.queue import Queue\nimport journal.log\n"
    source = Source(ROOT / "kernel/x.py", "kernel/x.py", "kernel", bad, ast.parse(bad))
    assert {p.split(":")[1] for p in problems(source)} == {"1", "2", "3", "4", "5"}

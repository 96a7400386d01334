"""What a reviewer should not have to say: lengths, names, and calls that do not belong where they stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.sources import ROOT, Source, checks, sources

FILE_LINES = 400
FUNCTION_LINES = 70
VAGUE = {
    "util": "the noun it is about", "utils": "the noun it is about", "helper": "what it does", "helpers": "what it does",
    "manager": "the duty it has", "common": "its subject", "base": "its subject", "misc": "its subjects, one file each",
}  # fmt: skip
# Who may catch everything, because user code or a foreign library may raise anything there.
CATCHES_ALL = ("actors/", "engine/session.py", "journal/lmdb_store.py", "journal/memory_store.py", "kernel/backoff.py", "sim/")
# Who may let time pass.  Everybody else waits for something.
SLEEPS = ("actors/timer.py", "actors/clock.py", "actors/gate.py", "actors/housekeeper.py", "actors/supervisor.py", "sim/")
# Accesses to another object's private parts, per thousand lines of tests.
PRIVATE_PER_THOUSAND = 15

ALL = sources() + checks()


def by_name(source: Source) -> str:
    return source.name


@pytest.mark.parametrize("source", ALL, ids=by_name)
def test_lengths(source: Source) -> None:
    lines = source.text.count("\n")
    assert lines <= FILE_LINES, f"{source.name} has {lines} lines; has it one subject?"
    long = [
        f"{source.name}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno and node.end_lineno - node.lineno >= FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("source", ALL, ids=by_name)
def test_names_say_something(source: Source) -> None:
    for word in re.split(r"[/_.]", source.name.lower().removesuffix(".py")):
        assert word not in VAGUE, f"{source.name}: instead of {word!r} say {VAGUE[word]}"
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for word in re.findall(r"[a-z]+|[A-Z][a-z]+", node.name):
                assert word.lower() not in VAGUE, f"{source.name}:{node.lineno} {node.name}: instead of {word!r} say {VAGUE[word.lower()]}"


@pytest.mark.parametrize("source", ALL, ids=by_name)
def test_one_header(source: Source) -> None:
    if source.text.strip():
        assert ast.get_docstring(source.tree), f"{source.name} does not say what it is for"


def calls(tree: ast.AST, name: str) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            if called == name:
                yield node.lineno


@pytest.mark.parametrize("source", sources(), ids=by_name)
def test_nobody_sleeps_prints_or_catches_everything(source: Source) -> None:
    if not source.name.startswith(SLEEPS):
        assert [line for name in ("sleep", "sleep_until", "sleep_forever") for line in calls(source.tree, name)] == [], (
            "wait for an event instead"
        )
    if source.layer not in ("journeyman", "cli") and source.name != "journal/probe.py":
        assert list(calls(source.tree, "print")) == [], "use logging"
    if not source.name.startswith(CATCHES_ALL):
        for node in ast.walk(source.tree):
            # To clean up and raise on is anybody's right.
            if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise):
                caught = ast.unparse(node.type) if node.type is not None else "everything"
                assert caught not in ("Exception", "BaseException", "everything"), (
                    f"{source.name}:{node.lineno} catches {caught}: name what you expect"
                )


@pytest.mark.parametrize("source", checks(), ids=by_name)
def test_fakes_instead_of_mocks(source: Source) -> None:
    assert not re.search(r"^\s*(?:from|import) +unittest", source.text, re.M), "write a small fake that obeys the same contract"


def test_tests_use_the_front_door() -> None:
    """Private access is counted, not forbidden: it must stay rare."""
    lines = sum(source.text.count("\n") for source in checks())
    private = [
        f"{source.name}:{node.lineno} .{node.attr}"
        for source in checks()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and re.match(r"_[a-z]", node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "sys", "os", "ctypes"))
        and node.attr not in ("_make", "_asdict", "_replace", "_fields")
    ]
    allowed = PRIVATE_PER_THOUSAND * lines / 1000
    assert len(private) <= allowed, "\n".join(
        [f"{len(private)} private accesses in {lines} lines of tests; {allowed:.0f} are allowed:", *private]
    )


def test_no_words_of_the_workshop() -> None:
    """Nothing committed names a machine's own paths; text files only."""
    pattern = re.compile(r"(?:^|[\s\"'`(=])/(?:work|root|home)/\w")
    files = [p for s in ("*.md", "*.toml", "Makefile", "*.txt") for p in ROOT.glob(s)] + sorted((ROOT / "docs").rglob("*.md"))
    for path in [*files, *(source.path for source in ALL)]:
        found = [
            line for line in path.read_text(encoding="utf-8").splitlines() if pattern.search(line) and "pattern = re.compile" not in line
        ]
        assert found == [], f"{path.relative_to(ROOT)}: {found}"

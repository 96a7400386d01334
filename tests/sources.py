"""The repository's own source files, parsed once, for the tests that read code instead of running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("kernel", "journal", "actors", "engine", "sim", "cli", "dashboard")


class Source(NamedTuple):
    path: Path
    name: str  # relative to the root, with slashes
    layer: str  # its first folder
    text: str
    tree: ast.Module


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of the layers and of journeyman/."""
    return tuple(_read(folder) for layer in (*LAYERS, "journeyman") for folder in sorted((ROOT / layer).rglob("*.py")))


@cache
def checks() -> tuple[Source, ...]:
    """Every Python file below tests/, bench/ and examples/."""
    return tuple(_read(path) for folder in ("tests", "bench", "examples") for path in sorted((ROOT / folder).rglob("*.py")))


def _read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    return Source(path, name, name.partition("/")[0], text, ast.parse(text, name))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(module, line) of every import: `from a import b` counts as a and as a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)

"""docs/ARCHITECTURE.md names tests and files: all of them exist, and none is left out.  Links in these pages lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.sources import ROOT, checks, sources

DOCS = ROOT / "docs"
PAGES = [DOCS / "ARCHITECTURE.md", DOCS / "FEATURES.md", DOCS / "GLOSSARY.md", *sorted((DOCS / "decisions").glob("*.md"))]
ARCHITECTURE = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")


def defined() -> dict[str, set[str]]:
    """File below tests/ -> names of the test functions in it, methods of test classes included."""
    return {
        source.name: {
            node.name
            for node in ast.walk(source.tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
        }
        for source in checks()
    }


def test_every_law_names_tests_and_they_exist() -> None:
    laws = re.split(r"^\*\*(?=\d\. )", ARCHITECTURE.partition("## The layers")[0], flags=re.MULTILINE)[1:]
    assert [law[0] for law in laws] == list("1234567")
    tests = defined()
    for law in laws:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", law)
        assert named, f"law {law[0]} is held by no test"
        assert [name for path, name in named if name not in tests.get(path, ())] == []


def test_the_map_has_every_file_of_the_program_and_only_real_ones() -> None:
    rows = re.findall(r"^\| (?:\*\*(\w+)/\*\* )?([\w, /]+?) \|", ARCHITECTURE.partition("## Where things are")[2], re.MULTILINE)
    found: set[str] = set()
    layer = ""
    for start, names in rows:
        layer = start or layer
        if layer:
            found |= {f"{layer}/{name}.py" for name in names.split(", ")}
    real = {source.name for source in sources() if source.layer != "journeyman" and not source.name.endswith("__init__.py")}
    assert found <= real
    assert {name for name in real - found if not name.startswith("sim/")} == set()  # sim/: the map names what a reader begins with


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []

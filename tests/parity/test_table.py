"""docs/PARITY.md is what tools/parity.py makes of these tests; each operation has one; they use nothing but the public API."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from types import ModuleType

import pytest

from tests.sources import ROOT, checks, imports

PUBLIC = {"journeyman", "journeyman.engine", "journeyman.sim"}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_page", ROOT / "tools" / "parity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_tests(tool: ModuleType) -> None:
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), "python tools/parity.py --write"


def test_every_operation_has_a_test(tool: ModuleType) -> None:
    tested = Counter((row.system, row.operation) for row in tool.rows())
    listed = [(letter, operation) for letter, system in tool.SYSTEMS.items() for operation in system.operations]
    assert len(listed) == len(set(listed))
    assert [one for one in listed if one not in tested] == [], "no test"
    assert [one for one in tested if one not in listed] == [], "not in the table"


def test_names_are_told_apart(tool: ModuleType) -> None:
    rows = list(tool.rows())
    names = [row.test for row in rows]
    assert len(names) == len(set(names))
    assert [row.test for row in rows if not row.test.startswith(f"test_{row.system.lower()}_")] == []
    assert [row.test for row in rows if "|" in row.there + row.here] == [], "a table has no room for that sign"
    assert [row.test for row in rows if row.verdict != "Same" and not row.here] == [], "say what is done here"


def test_the_public_api_alone() -> None:
    for source in checks():
        if source.name.startswith("tests/parity/test_") and source.name != "tests/parity/test_table.py":
            ours = {module for module, _ in imports(source.tree) if module.partition(".")[0] == "journeyman"}
            roots = {module if module in PUBLIC else module.rpartition(".")[0] for module in ours}
            assert roots <= PUBLIC, source.name


def test_links_lead_somewhere(tool: ModuleType) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", tool.page())
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []

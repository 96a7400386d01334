"""Row 9: names are 1 to 128 bytes of UTF-8 without control characters."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.engine import InvalidName, Queue
from journeyman.engine.names import check_name


@pytest.mark.parametrize("name", ["a", "x" * 128, "é" * 64, "mail.eu-1/slow", "長い名前", "👩‍🔧", " "])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 129, "é" * 64 + "x", "a\nb", "a\x00", "\x1b[2J", "a\x7f", "a\x85b", "\ud800", None, 7, b"mail"])
def test_not_names(name: object) -> None:
    with pytest.raises(InvalidName, match=r"^queue name"):
        check_name(name, "queue name")
    with pytest.raises(ValueError, match="queue name"):
        Queue(name)  # type: ignore[arg-type]


@given(st.text(min_size=1, max_size=140))
def test_a_name_is_what_the_rule_says(text: str) -> None:
    fits = len(text.encode("utf-8", "surrogatepass")) <= 128 and not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)
    try:
        assert check_name(text) == text
    except InvalidName:
        assert not fits
    else:
        assert fits

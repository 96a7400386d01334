"""Mappings that some of a recording's tasks and runs have, as bytes: the options of a task, how a run failed.

Problem.  A dictionary with one entry takes some 300 bytes, and in many journals every task has options (a key, an owner), so a million of
them would weigh more than all columns together.  Choice: each mapping is kept as the CBOR that it came from, in one bytearray, beside the
number of the task and the place where it begins: 16 bytes and the text.  Equal ones that come near each other share their bytes.  A reader
decodes one when it is asked for, which takes two microseconds.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any, Final

from journeyman.journal.cbor import decode, encode

_RECENT: Final = 4_096  # distinct ones that are told apart


class Notes:
    """By number.  Numbers are given in ascending order; the newest one may be given again, and is replaced."""

    def __init__(self) -> None:
        self._numbers = array("i")
        self._begins = array("q")
        self._sizes = array("i")
        self._text = bytearray()
        self._recent: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, number: int, note: Mapping[str, Any]) -> None:
        """Keep a mapping."""
        text = encode(note)
        begin = self._recent.get(text)
        if begin is None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            begin = self._recent[text] = len(self._text)
            self._text += text
        if self._numbers and self._numbers[-1] == number:
            self._begins[-1], self._sizes[-1] = begin, len(text)
            return
        self._numbers.append(number)
        self._begins.append(begin)
        self._sizes.append(len(text))

    def values(self) -> Iterator[dict[str, Any]]:
        """All of them, one after another."""
        for begin, size in zip(self._begins, self._sizes, strict=True):
            yield decode(bytes(self._text[begin : begin + size]))

    def get(self, number: int) -> dict[str, Any] | None:
        """The mapping of this number; None if it has none."""
        numbers = self._numbers
        place = bisect_left(numbers, number)
        if place == len(numbers) or numbers[place] != number:
            return None
        begin = self._begins[place]
        found: dict[str, Any] = decode(bytes(self._text[begin : begin + self._sizes[place]]))
        return found


__all__ = ["Notes"]

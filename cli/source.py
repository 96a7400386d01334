"""Python source out of values: literals, and calls laid out as formatters lay them out.

Problem.  What the tool writes is code that people keep, so it must read as if they had written it and survive their linter.  Choice: a
small tree of groups (something that opens, items, something that closes), each on one line if it fits, else an item a line with a comma
after the last: the layout on which formatters agree and which they leave alone at any wider line.  Text is ASCII with escapes, so that
no linter finds look-alike letters, and long text goes over several lines.

Rejected: running a formatter (one more thing to install, for a command that an operator needs in an incident); `repr` in f-strings
(lines of a thousand columns).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

WIDTH: Final = 88
_PIECE: Final = 60  # characters of text on a line


@dataclass(frozen=True, slots=True)
class Group:
    """`opens` items `closes`.  `comma`: whether items are separated by one; `one`: a lone item has one too (a tuple)."""

    opens: str
    items: tuple[Node, ...]
    closes: str = ")"
    comma: bool = True
    one: bool = False

    def flat(self) -> str:
        texts = [flat(item) for item in self.items]
        end = "," if self.one and len(texts) == 1 else ""
        return self.opens + (", " if self.comma else " ").join(texts) + end + self.closes


Node = str | Group


def flat(node: Node) -> str:
    return node if isinstance(node, str) else node.flat()


def call(name: str, *items: Node) -> Group:
    return Group(name + "(", items)


def named(name: str, node: Node) -> Node:
    """`name=node`."""
    return name + "=" + node if isinstance(node, str) else Group(name + "=" + node.opens, node.items, node.closes, node.comma, node.one)


def lines(node: Node, indent: int = 0, *, before: str = "", after: str = "") -> Iterator[str]:
    """The lines of a statement: `before` node `after`, indented by so many spaces."""
    space = " " * indent
    whole = space + before + flat(node) + after
    long_text = isinstance(node, Group) and _broken(node)
    if isinstance(node, str) or not node.items or (len(whole) <= WIDTH and not long_text):
        yield whole
        return
    yield space + before + node.opens
    for item in node.items:
        alone = len(node.items) == 1 and isinstance(item, Group) and not item.comma
        if isinstance(item, Group) and alone:  # text, the only argument: no brackets of its own
            for piece in item.items:
                yield from lines(piece, indent + 4)
        else:
            yield from lines(item, indent + 4, after="," if node.comma else "")
    yield space + node.closes + after


def _broken(node: Group) -> bool:
    """Whether there is text in it that must go over several lines."""
    return not node.comma or any(isinstance(item, Group) and _broken(item) for item in node.items)


# --- values -----------------------------------------------------------------------------------------------------------


def text(value: str) -> Node:
    """A literal; over several lines if it is long."""
    pieces = [_quoted(value[start : start + _PIECE]) for start in range(0, len(value), _PIECE)]
    return pieces[0] if len(pieces) == 1 else _quoted("") if not pieces else Group("(", tuple(pieces), comma=False)


def _quoted(value: str) -> str:
    quote = "'" if value.count('"') > value.count("'") else '"'
    return quote + "".join("\\" + char if char == quote else _escaped(char) for char in value) + quote


def _escaped(char: str) -> str:
    return char if char in "'\"" else ascii(char)[1:-1]


def plain(value: str) -> str:
    """For comments and docstrings: one line of ASCII, without what would end them."""
    return "".join(char if char.isprintable() and char.isascii() and char not in '"\\' else "?" for char in value)


def seconds(us: int) -> str:
    """A duration or offset in seconds, exact."""
    whole, rest = divmod(abs(us), 1_000_000)
    digits = f"{rest:06d}".rstrip("0")
    return ("-" if us < 0 else "") + str(whole) + ("." + digits if digits else "")


class Literals:
    """Values as source; remembers what must be imported for them: `imports` maps a module to names."""

    def __init__(self) -> None:
        self.imports: dict[str, set[str]] = {}

    def need(self, module: str, *names: str) -> None:
        self.imports.setdefault(module, set()).update(names)

    def of(self, value: Any) -> Node:
        """The source of anything that a payload can hold."""
        if isinstance(value, str):
            return text(value)
        if value is None or isinstance(value, bool | int):
            return repr(value)
        if isinstance(value, float):
            return repr(value) if value == value and abs(value) != float("inf") else call("float", _quoted(repr(value)))
        if isinstance(value, bytes | bytearray):
            return self._bytes(bytes(value))
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list):
            return Group("[", tuple(map(self.of, value)), "]")
        if isinstance(value, tuple):
            return Group("(", tuple(map(self.of, value)), one=True)
        if isinstance(value, set | frozenset):
            return self._set(sorted(value, key=repr), frozen=isinstance(value, frozenset))
        return self._other(value)

    def _bytes(self, value: bytes) -> Node:
        pieces = ["b" + _quoted_bytes(value[start : start + _PIECE // 2]) for start in range(0, len(value), _PIECE // 2)] or ['b""']
        return pieces[0] if len(pieces) == 1 else Group("(", tuple(pieces), comma=False)

    def _mapping(self, value: Mapping[Any, Any]) -> Node:
        items = tuple(_after(flat(self.of(key)) + ": ", self.of(item)) for key, item in value.items())
        return Group("{", items, "}")

    def _set(self, members: Sequence[Any], *, frozen: bool) -> Node:
        if not members:
            return "frozenset()" if frozen else "set()"
        inner = Group("{", tuple(map(self.of, members)), "}")
        return Group("frozenset({", inner.items, "})") if frozen else inner

    def _other(self, value: Any) -> Node:
        if isinstance(value, datetime):
            return self.instant(value)
        if isinstance(value, date | time | timedelta):
            self.need("datetime", type(value).__name__)
            return repr(value).removeprefix("datetime.")
        if isinstance(value, UUID):
            self.need("uuid", "UUID")
            return call("UUID", _quoted(str(value)))
        if isinstance(value, Decimal):
            self.need("decimal", "Decimal")
            return call("Decimal", _quoted(str(value)))
        return text(repr(value))

    def instant(self, value: datetime) -> Node:
        """An aware datetime in UTC, or a naive one."""
        self.need("datetime", "datetime")
        aware = value.tzinfo is not None
        if aware:
            self.need("datetime", "UTC")
            value = value.astimezone(UTC)
        parts = [value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond]
        while len(parts) > 3 and not parts[-1]:
            parts.pop()
        return call("datetime", *map(str, parts), *(["tzinfo=UTC"] if aware else []))


def _after(before: str, node: Node) -> Node:
    return before + node if isinstance(node, str) else Group(before + node.opens, node.items, node.closes, node.comma, node.one)


def _quoted_bytes(value: bytes) -> str:
    quote = "'" if value.count(b'"') > value.count(b"'") else '"'
    body = "".join("\\" + quote if chr(byte) == quote else chr(byte) if chr(byte) in "'\"" else repr(bytes([byte]))[2:-1] for byte in value)
    return quote + body + quote


def import_lines(imports: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """`from module import names`, sorted."""
    for module, names in sorted(imports.items()):
        yield from (
            lines(Group(f"from {module} import (", tuple(_by_kind(names))))
            if _long(module, names)
            else iter([f"from {module} import {', '.join(_by_kind(names))}"])
        )


def _long(module: str, names: Iterable[str]) -> bool:
    return len(f"from {module} import {', '.join(names)}") > WIDTH


def _by_kind(names: Iterable[str]) -> list[str]:
    """Constants, classes, functions: as linters sort them."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[:1].isupper(), name))


__all__ = ["WIDTH", "Group", "Literals", "Node", "call", "flat", "import_lines", "lines", "named", "plain", "seconds", "text"]

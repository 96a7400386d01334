"""What handlers repeat of what is hidden: the value of a hidden field, met again in an error's text, a reason, a result.

Problem.  `raise ValueError(f"cannot log in with {password}")` is in every code base, and what was hidden because of its name is then read
in the line below.  Nobody can tell which part of a text is a secret.  Choice: what can be told is that a text holds, letter by letter, the
value of a field that is hidden; it is hidden there too.  So whoever shows a task with its arguments at hand looks for the hidden ones in
everything else that it says of this task, and an export in what comes after the arguments.

It is no proof: a value of fewer than SHORTEST characters is too likely to be part of something else (a PIN in an id), a secret that the
handler fetched itself, encoded or cut is not recognised, and a list of events (`log`, `diff`, the newest events of `top`) has no
arguments at hand.  docs/JOURNAL.md says so.

Rejected: reading each failed task's arguments for `log` (its filter may begin anywhere, and where a task's arguments are is not in its
events); hiding all texts of tasks with a hidden field (an operator reads `log` for the errors).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from journeyman.journal.cbor import CodecError, decode_payload
from journeyman.journal.redaction import HIDDEN, Redaction

SHORTEST: Final = 5  # characters of a value that is looked for
_MANY: Final = 100_000  # tasks whose hidden values an export remembers


class Echoes:
    """Hides these values wherever they stand."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({one for secret in secrets for one in _spellings(secret)}, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def text(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """The same with all text in it; named tuples stay what they are."""
        if not self._secrets:
            return value
        if isinstance(value, str) and type(value) is str:
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self.value(item) for item in value))
        if isinstance(value, list | tuple):
            return type(value)(self.value(item) for item in value)
        return value


def echoes_in(redaction: Redaction, handler: str, args: list[Any], kwargs: Mapping[str, Any], *others: Any) -> Echoes:
    """Of a task's arguments, and of other values with names in them (its `meta`, its result)."""
    if redaction.reveal:
        return Echoes(())
    shown, named = redaction.call(handler, args, kwargs)
    pairs = [(args, shown), (dict(kwargs), named), *((other, redaction.value(other)) for other in others)]
    return Echoes(secret for before, after in pairs for secret in _lost(before, after))


def echoes_of(redaction: Redaction, handler: str, payload: bytes | None, *others: Any) -> Echoes:
    """The same of arguments as they are stored."""
    try:
        found = decode_payload(payload) if payload else [[], {}]
        args, kwargs = found
        return echoes_in(redaction, handler, list(args), kwargs, *others)
    except (CodecError, TypeError, ValueError):
        return Echoes(())


class Remembered:
    """By task, for whoever meets its arguments first and its errors later."""

    def __init__(self) -> None:
        self._of: OrderedDict[bytes, Echoes] = OrderedDict()

    def learn(self, task: bytes, echoes: Echoes) -> None:
        if echoes:
            self._of[task] = echoes
            if len(self._of) > _MANY:
                self._of.popitem(last=False)

    def value(self, task: Any, value: Any) -> Any:
        echoes = self._of.get(task) if isinstance(task, bytes) else None
        return value if echoes is None else echoes.value(value)


def _lost(before: Any, after: Any) -> Iterator[str]:
    """The texts and numbers in `before` that `after` hides."""
    if isinstance(after, str) and after == HIDDEN and before != HIDDEN:
        yield from _leaves(before)
    elif isinstance(before, Mapping):
        for key, value in before.items():
            yield from _lost(value, after[key])
    elif isinstance(before, list | tuple):
        for value, shown in zip(before, after, strict=True):
            yield from _lost(value, shown)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool | bytes) and len(text := str(value)) >= SHORTEST:
        yield text


def _spellings(secret: str) -> Iterator[str]:
    """As it is, and as `repr` writes it."""
    yield secret
    yield repr(secret)[1:-1]


__all__ = ["SHORTEST", "Echoes", "Remembered", "echoes_in", "echoes_of"]

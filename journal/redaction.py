"""What must not be shown: fields of arguments, results and `meta` whose names tell of secrets.

A name is hidden if one of the patterns is in it, whatever its case and however its words are joined: `token` hides `api_token`,
`apiToken` and `X-Token`, but not `tokens_used`, which is a word of its own.  Patterns with * or ? are matched against the whole name.

Calls are stored by position; engines write down what the positional parameters of their handlers are called (journal/parameters.py).  Where
that is missing, in an imported journal or for `*args`, a positional argument has no name, and is hidden too.  `send.0` names the first one
of handler `send`.

Configured by --redact and by the environment variable JOURNEYMAN_REDACT (names with commas between), in addition to those below.  A list
of a name and a value is taken for what it is.  What a handler puts into an exception's text cannot be told apart, but where the hidden
arguments are at hand, their values are hidden there too: journal/echoes.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Self

from journeyman.journal.parameters import Parameters

USUAL: Final = (
    "password", "passwd", "passphrase", "pwd", "secret", "token", "api_key", "apikey", "access_key", "private_key", "authorization",
    "auth", "cookie", "session_id", "credential", "credentials", "ssn", "iban", "card_number", "cvv", "cvc", "pin",
)  # fmt: skip
VARIABLE: Final = "JOURNEYMAN_REDACT"
HIDDEN: Final = "[hidden]"
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_JOINT: Final = re.compile(r"[^a-z0-9]+")


class Redaction:
    """Hides by name; `reveal` hides nothing."""

    def __init__(self, names: Iterable[str] = (), *, reveal: bool = False) -> None:
        configured = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
        wanted = [*USUAL, *configured, *names]
        self.reveal = reveal
        self._globs = [name.lower() for name in wanted if "*" in name or "?" in name]
        self._words = [_words(name) for name in wanted if "*" not in name and "?" not in name and "." not in name]
        self._places = {name.lower() for name in wanted if "." in name}
        self._known: dict[str, bool] = {}
        self._parameters: Parameters = {}

    def hides(self, name: str) -> bool:
        """Whether a field of this name is hidden."""
        if self.reveal:
            return False
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._matches(name)
            if len(self._known) > 10_000:
                self._known.clear()
        return found

    def hides_key(self, key: object) -> bool:
        """The same of a key, which may be no name at all; HTTP's headers come as bytes."""
        if isinstance(key, bytes):
            key = key.decode("utf-8", "replace")
        return isinstance(key, str) and self.hides(key)

    def _matches(self, name: str) -> bool:
        whole, words = name.lower(), f"_{_words(name)}_"
        return any(f"_{word}_" in words for word in self._words) or any(fnmatchcase(whole, glob) for glob in self._globs)

    def value(self, value: Any) -> Any:
        """`value` with what must not be shown in it replaced; a copy where anything was."""
        if self.reveal:
            return value
        if isinstance(value, Mapping):
            return {key: HIDDEN if self.hides_key(key) else self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            if len(value) == 2 and self.hides_key(value[0]):
                return [value[0], HIDDEN]  # headers, and other maps, as pairs
            return [self.value(item) for item in value]
        return value

    def learn(self, parameters: Parameters) -> Self:
        """What positional arguments are called (`JournalView.parameters`); without that they have no names."""
        self._parameters = parameters
        return self

    def call(self, handler: str | None, args: list[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a task.  What has no name is hidden: nobody can say that it is no secret.  `handler` None: not known."""
        if self.reveal:
            return args, dict(kwargs)
        shown = [HIDDEN if self._hides_place(handler, place) else self.value(value) for place, value in enumerate(args)]
        return shown, self.value(dict(kwargs))

    def _hides_place(self, handler: str | None, place: int) -> bool:
        if self.reveal:
            return False
        if handler is None:
            return True
        if f"{handler}.{place}".lower() in self._places:
            return True
        known = self._parameters.get(handler, ())
        names = [names[place] for names in known if place < len(names)]
        return not names or any(map(self.hides, names))


def _words(name: str) -> str:
    return _JOINT.sub("_", _HUMP.sub("_", name).lower()).strip("_")


__all__ = ["HIDDEN", "Redaction"]

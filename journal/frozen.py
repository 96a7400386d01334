"""A map in a public value that nobody can change.

Problem.  Tasks and events are shown as frozen values, maps inside included; but a `mappingproxy` cannot be pickled, and so neither can the
value, nor the TaskFailed that carries it over to another process, nor can `copy.deepcopy` and `dataclasses.asdict` take it.  Choice: a dict
whose changes are refused.  It is as quick to make and to read, equals any dict that holds the same, and `json.dumps` takes it.
"""

from __future__ import annotations

from typing import Any


def _refuse(*_: Any, **__: Any) -> Any:
    raise TypeError("this map shows what was recorded and cannot be changed; make a dict(...) of it")


class FrozenMap(dict[str, Any]):
    """Read it like any dict; `dict(it)` is one of your own."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenMap], tuple[dict[str, Any]]]:
        return FrozenMap, (dict(self),)


__all__ = ["FrozenMap"]

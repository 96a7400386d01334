"""Journeyman: an embedded, durable task engine.  Whatever journeyman.engine offers can be imported from here.

The engine is loaded when somebody asks for something of it.  The command line, its children and the readers of journals begin with this
package too, and would wait a quarter of a second, the greater part of their start, for an engine and trio that they do not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journeyman.engine import *  # noqa: F403
    from journeyman.engine import __all__ as __all__

_LAYERS = frozenset({"actors", "engine", "journal", "kernel"})  # `journeyman.journal` without an import of its own


def __getattr__(name: str) -> Any:
    if name in _LAYERS:
        return import_module(f"journeyman.{name}")
    if name == "__all__" or not name.startswith("__"):
        engine = import_module("journeyman.engine")
        if name == "__all__" or name in engine.__all__:
            found = globals()[name] = getattr(engine, name)
            return found
    raise AttributeError(f"module 'journeyman' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("journeyman.engine").__all__})

"""What is remembered: the journal, and the door for tools that read one.

    with open_journal("var/jobs") as journal:
        for seq, event in journal.events(): ...

Loaded when asked for, because an engine needs none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journeyman.journal.history import HistoryEvent as HistoryEvent
    from journeyman.journal.view import JournalView as JournalView
    from journeyman.journal.view import open_journal as open_journal

_HOMES = {"HistoryEvent": "history", "JournalView": "view", "open_journal": "view"}

__all__ = ["HistoryEvent", "JournalView", "open_journal"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)

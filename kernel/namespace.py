"""Names of queues that belong to a namespace: how they are stored, and how they are said.

Problem.  Two plugins of one host both want a queue "mail", and neither may reach the other's by choosing a clever name.  Choice: a
queue of a namespace is stored as namespace, U+001F, queue.  Names that people give hold no control characters (engine/names.py), so
nothing that anybody types collides with it, and everything below the engine treats it as the name it is.  People read it as
"namespace/queue".  The owner's own queues are stored as they are called.
"""

from __future__ import annotations

from typing import Final

SEPARATOR: Final = "\x1f"


def stored_name(namespace: str, queue: str) -> str:
    """The journal's name of `queue` in `namespace`; "" is the owner."""
    return namespace + SEPARATOR + queue if namespace else queue


def namespace_of(stored: str) -> str:
    """The namespace of a queue by its stored name; "" for the owner's."""
    namespace, found, _ = stored.partition(SEPARATOR)
    return namespace if found else ""


def local_name(stored: str) -> str:
    """What the queue is called within its namespace."""
    return stored.partition(SEPARATOR)[2] or stored


def shown_name(stored: str) -> str:
    """What the queue is called everywhere else."""
    return stored.replace(SEPARATOR, "/", 1)


__all__ = ["SEPARATOR", "local_name", "namespace_of", "shown_name", "stored_name"]

"""What a transaction comes to for the application's key-values.

Problem.  Two programs count in one key: both read 4, both put 5, and one of them is forgotten.  Choice: optimistic.  Whoever reads a key is
told which event spoke for it; what is put goes in only if the same events still speak for all that was read, newest decision included,
durable or not.  Else nothing changes, and whoever asked begins anew: by then the other's change is durable and read.

What speaks for a key is not remembered here: it is brought by the shell, as everything is that is not the queue's own (actors/values.py).

Rejected: locks (a handler may hold one for an hour, and a body that awaits two of them waits for ever); last one wins in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from journeyman.kernel.commands import Refused
from journeyman.kernel.events import ValuePut
from journeyman.kernel.namespace import shown_name

Name = tuple[str, bytes]  # namespace ("" is the owner's), key


class Write(NamedTuple):
    """What a key is to be.  `size` None: nothing."""

    name: Name
    size: int | None
    digest: bytes = b""


def decide_values(
    reads: Mapping[Name, int], writes: Sequence[Write], newest: Mapping[Name, int], now: int, boot: int, by_task: bytes | None = None
) -> list[ValuePut] | Refused:
    """An event for each key that changes, in the order of `writes`; to delete what is not there changes nothing.

    `reads`: the seq that spoke for each key when it was read; `newest`: the one that does now, of all keys in `reads` and `writes`; 0:
    none.
    """
    for name, seq in reads.items():
        if newest[name] != seq:
            return Refused(
                "TransactionConflict",
                f"key {shown_key(name)} was changed by somebody else after it had been read here: nothing was written, so begin anew",
            )
    events: list[ValuePut] = []
    for name, size, digest in writes:
        former = newest[name]
        if size is not None:
            events.append(ValuePut(now, "", 0, boot, *name, False, size, digest, former, by_task))
        elif former:
            events.append(ValuePut(now, "", 0, boot, *name, True, 0, b"", former, by_task))
    return events


def shown_key(name: Name) -> str:
    """For people."""
    namespace, key = name
    return f"{key!r} of {shown_name(namespace)!r}" if namespace else repr(key)


def key_text(key: bytes) -> str:
    """A key in a field of its own: as the text it most likely is, else in hex behind "0x"."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text and not text.startswith("0x") else f"0x{key.hex()}"


__all__ = ["Name", "Write", "decide_values", "key_text", "shown_key"]

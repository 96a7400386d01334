"""An id as people see it, in every message and every answer.  How ids are minted and read is the engine's business (engine/ids.py)."""

from __future__ import annotations


def id_text(task: bytes) -> str:
    """36 characters, lower case."""
    h = task.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


__all__ = ["id_text"]

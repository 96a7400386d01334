"""An id as people see it, in every message and every answer.  How ids are minted is the engine's business (engine/ids.py)."""

from __future__ import annotations

from typing import Final

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_HYPHENS: Final = (8, 13, 18, 23)


def id_text(task: bytes) -> str:
    """36 characters, lower case."""
    h = task.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def id_bytes(text: object) -> bytes:
    """The 16 bytes of an id given as text: any UUID, with or without hyphens, of any version.  ValueError for anything else."""
    if isinstance(text, str):
        digits = text.replace("-", "")
        placed = text == digits or (len(text) == 36 and all(text[place] == "-" for place in _HYPHENS))
        if placed and len(digits) == 32 and _HEX.issuperset(digits):
            return bytes.fromhex(digits)
    raise ValueError(f"an id must be a UUID as str, such as '01890a5d-ac96-774b-bcce-b302099a8057', not {text!r}")


__all__ = ["id_bytes", "id_text"]

"""An id as people see it, in every message and every answer.  How ids are minted is the engine's business (engine/ids.py)."""

from __future__ import annotations

import re
from typing import Final

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")


def id_text(task: bytes) -> str:
    """36 characters, lower case."""
    h = task.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def id_bytes(text: object) -> bytes:
    """The 16 bytes of an id given as text: any UUID, with or without hyphens, of any version.  ValueError for anything else."""
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise ValueError(f"an id must be a UUID as str, such as '01890a5d-ac96-774b-bcce-b302099a8057', not {text!r}")
    return bytes.fromhex(text.replace("-", ""))


__all__ = ["id_bytes", "id_text"]

"""What may be a name: of a queue, a handler, an owner, a source, a tag.

Names are kept in every event and shown on every screen, so they are short, printable text: 1 to 128 bytes of UTF-8, no control characters
(of Unicode's category Cc, so no line breaks and no escapes either), nothing that UTF-8 cannot hold.
"""

from __future__ import annotations

from journeyman.engine.errors import InvalidName
from journeyman.kernel.bounds import BY_MAX, NAME_MAX_BYTES, REASON_MAX


def check_words(reason: object, by: object) -> None:
    """What an order is to say of itself on the record: `reason` up to 1,024 characters, `by` up to 128.  ValueError if they cannot be."""
    for value, what, most in ((reason, "reason", REASON_MAX), (by, "by", BY_MAX)):
        if not isinstance(value, str):
            raise ValueError(f"{what} must be a str, not {type(value).__name__}")
        if len(value) > most:
            raise ValueError(f"{what} has {len(value):,} characters; at most {most:,} are kept, so say it shorter")
        if not is_storable(value):
            raise ValueError(f"{what} {value!r} holds a lone surrogate, which UTF-8 cannot store")


def is_storable(text: str) -> bool:
    """Whether UTF-8 can hold it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_name(name: object, what: str = "name") -> str:
    """`name` itself if it is one; InvalidName, beginning with `what`, if it is not."""
    if not isinstance(name, str):
        raise InvalidName(f"{what} must be a str, not {type(name).__name__}")
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidName(f"{what} {name!r} holds a lone surrogate, which UTF-8 cannot store") from None
    if not size:
        raise InvalidName(f"{what} must not be empty")
    if size > NAME_MAX_BYTES:
        raise InvalidName(f"{what} {name[:20]!r}... has {size} bytes of UTF-8; at most {NAME_MAX_BYTES} are allowed")
    if not name.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in name):
        raise InvalidName(f"{what} {name!r} holds a control character")
    return str(name)

"""What may be shown of what others wrote: hidden where its name tells of a secret, cut where it is long.

Everything of a task may have been chosen by somebody who means harm, or be a megabyte.  So three things happen to it, each in one place:
secrets are hidden by name, and where handlers repeat them (journal/redaction.py, journal/echoes.py; here); long text is cut, with its full
size said (here); and whatever a template prints is escaped, with control and bidirectional characters replaced (templating.py).

To find what an error repeats, the task's arguments must be at hand.  A list of fifty failures reads them if they are small, and shows the
kind of error alone where they are not.
"""

from __future__ import annotations

from typing import Any, Final

from journeyman.journal.cbor import CodecError, decode_payload
from journeyman.journal.echoes import Echoes, echoes_of
from journeyman.journal.following import Newest
from journeyman.journal.redaction import HIDDEN, Redaction
from journeyman.kernel.taskstate import TaskState

_SMALL: Final = 16 * 1024  # bytes of arguments that are read for a line of a list


def cut(text: str, most: int) -> str:
    """`text`, or its beginning with its full size said."""
    return text if len(text) <= most else f"{text[:most]}\u2026 [{most:,} of {len(text):,} characters]"


def decoded(data: bytes | None) -> Any:
    """What was stored; None where there is nothing, or nothing that this version reads."""
    try:
        return None if data is None else decode_payload(data)
    except CodecError:
        return None


class Hiding:
    """What is hidden on the pages of one app."""

    def __init__(self, redaction: Redaction) -> None:
        self.redaction = redaction

    def learn(self, newest: Newest) -> None:
        """What the arguments of handlers are called."""
        if not self.redaction.reveal:
            self.redaction.learn(newest.view.parameters())

    def echoes(self, task: TaskState, payload: bytes | None, *values: Any) -> Echoes:
        """The hidden values of a task, wherever else they stand.  `values`: others with names in them, such as its result."""
        return echoes_of(self.redaction, task.handler, payload, (task.options or {}).get("meta"), *values)

    def said(self, newest: Newest, task: TaskState, text: str) -> str:
        """A line that the handler, or somebody, said of the task."""
        if self.redaction.reveal or not task.payload_len:
            return text
        if task.payload_len > _SMALL:
            return f"{task.error[0]} {HIDDEN}" if task.error is not None else HIDDEN
        payload = newest.view.payload(task.payload_seq, task.payload_digest) if task.keep_payload else None
        return self.echoes(task, payload).text(text)


__all__ = ["Hiding", "cut", "decoded"]

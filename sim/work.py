"""A task and a queue as the oracle sees them: plain attributes, no rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WAITING: Final = frozenset({"pending", "scheduled", "retrying"})
ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "interrupted"})
STATES: Final = ("scheduled", "pending", "running", "retrying", "succeeded", "failed", "cancelled", "interrupted")


class Work:
    """A task, as the oracle sees it.  `events` is its whole life, the clock's steps among it."""

    __slots__ = (
        "attempt", "cancel", "cost", "crashes", "due_at", "due_kind", "error", "events", "expires_at", "failures", "finished_at",
        "first_due", "handler", "id", "keep_payload", "latest_at", "message", "options", "payload_seq", "place", "ppm", "priority",
        "pruned_seq", "queue", "reason", "result_digest", "result_len", "result_seq", "seq", "start_seq", "started_at", "state",
        "steps", "submitted_at", "waits_for",
    )  # fmt: skip

    def __init__(self, seq: int, event: Any) -> None:
        self.seq = self.place = self.payload_seq = seq
        self.id: bytes = event.task
        self.queue: str = event.queue
        self.handler: str = event.handler
        self.priority: int = event.priority
        self.submitted_at: int = event.at
        self.due_at: int = event.due_at
        self.first_due: int = event.due_at
        self.due_kind: int = event.due_kind
        self.options: Mapping[str, Any] = event.options or {}
        self.cost: int = self.options.get("cost", 1)
        self.waits_for: set[bytes] = set(self.options.get("waits_for", ()))
        self.latest_at: int | None = None
        if "max_wait_us" in self.options:
            self.latest_at = event.at + self.options["max_wait_us"]
        self.state = "scheduled" if event.due_at > event.at else "pending"
        self.attempt = self.failures = self.crashes = self.start_seq = self.result_seq = self.result_len = 0
        self.started_at: int | None = None
        self.finished_at: int | None = None
        self.expires_at: int | None = None
        self.keep_payload = True
        self.result_digest = b""
        self.pruned_seq = 0
        self.cancel: str | None = None
        self.error: Any = None
        self.reason: str | None = None
        self.message: str | None = None
        self.ppm: int | None = None
        self.steps: Mapping[str, tuple[int, int, bytes]] = {}  # done ones: name -> seq, length and digest of the value
        self.events: list[tuple[int, Any]] = [(seq, event)]

    def __lt__(self, other: Work) -> bool:
        return self.seq < other.seq

    def __repr__(self) -> str:
        return f"task {self.id.hex()[-12:]} of {self.queue!r} ({self.state}, attempt {self.attempt})"

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def shown(self, now: int) -> str:
        """The state an observer sees at `now`."""
        return "pending" if self.state in ("scheduled", "retrying") and self.due_at <= now else self.state

    def expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Lane:
    """A queue, as the oracle sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.policy: Mapping[str, Any] = {}
        self.declared: Mapping[str, Any] | None = None
        self.config_seq = 0
        self.paused = False
        self.pause_seq = 0
        self.parked_until = 0
        self.epoch = 0
        self.tat_at = 0
        self.key_tats: dict[str, int] = {}
        self.waiting = 0
        self.running: dict[bytes, Work] = {}
        self.keyed: dict[str, dict[bytes, Work]] = {}  # unfinished tasks by serialization key
        self.keys: dict[str, dict[bytes, Work]] = {}  # unfinished tasks by unique key
        self.holds: dict[str, tuple[int, bytes, int]] = {}  # unique key -> until, by whom, seq of its success

    def keeps(self, work: Work) -> None:
        """`work` is unfinished."""
        key = work.options.get("key")
        if key is not None:
            self.keyed.setdefault(key, {})[work.id] = work
        if "unique" in work.options:
            self.keys.setdefault(work.options["unique"], {})[work.id] = work

    def loses(self, work: Work) -> None:
        """`work` has ended."""
        key = work.options.get("key")
        if key is not None and (mates := self.keyed.get(key)) is not None:
            mates.pop(work.id, None)
            if not mates:
                del self.keyed[key]
        if "unique" in work.options:
            self.keys.get(work.options["unique"], {}).pop(work.id, None)

    def limit(self, name: str, default: Any) -> Any:
        """A number of its policy."""
        found = self.policy.get(name)
        return default if found is None else found


class Lanes(dict[str, Lane]):
    """The queues by name; one that was never heard of is made when it is asked for."""

    def __missing__(self, name: str) -> Lane:
        self[name] = lane = Lane(name)
        return lane

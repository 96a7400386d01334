"""The recorded queue beside the ones that might have been, and how far the first of them can be trusted.

The baseline is a play under the recorded policy.  Each of its starts that has a recorded counterpart (the same run of the same task) is
compared with it: by how much the waits differ.  It is trusted when nine of ten are within 5 ms or 5 %, and nine of ten recorded starts
were compared at all.  Where it is not, `reasons` says what in the journal may be the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from journeyman.journal.collector import without_collector
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.view import JournalView, Moment
from journeyman.journal.whatif.hearing import Hearing
from journeyman.journal.whatif.meter import Figures, percentile
from journeyman.journal.whatif.playing import Played, Player
from journeyman.journal.whatif.reading import events_for, newest_compaction, stored_queue
from journeyman.journal.whatif.recording import Recording
from journeyman.kernel.bounds import SECOND_US
from journeyman.kernel.events import Event, JournalCompacted
from journeyman.kernel.namespace import shown_name

NEAR_US: Final = 5_000
NEAR_SHARE: Final = 0.05
ENOUGH: Final = 0.9
_EARLIER: Final = timedelta(microseconds=1)
Tell = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Variant:
    """A policy to try: the facts in which it differs from the recorded one."""

    name: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Baseline:
    """How near a play under the recorded policy comes to what happened.  Durations in microseconds; None where nothing was compared."""

    starts: int  # recorded
    compared: int
    error_mean_us: float | None  # of the waits' differences, without their sign
    error_p95_us: int | None
    error_max_us: int | None
    bias_us: float | None  # with their sign: above 0 it waited longer than in truth
    near: float | None  # share within 5 ms or 5 %
    trusted: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A variant and what it came to."""

    variant: Variant
    played: Played


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of it."""

    recording: Recording
    recorded: Figures
    baseline: Baseline
    as_it_was: Played
    variants: list[Outcome]
    assumptions: list[str]


def what_if(
    view: JournalView,
    queue: str,
    variants: Sequence[Variant],
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    hears: Tell = lambda count: None,
    plays: Callable[[str, int], Tell] = lambda name, total: lambda count: None,
) -> Comparison:
    """Play what is recorded of `queue` from `since` to `until` under its own policy and under each of `variants`.

    Streams the journal once, and asks for nothing else of it: no snapshot, no recovery.  `hears` is told the seq that has been read.
    ValueError when there is no such queue, or nothing to play.
    """
    first = 1 if since is None else since if isinstance(since, int) else view.seq_at(since - _EARLIER) + 1
    last = view.last_seq if until is None else view.seq_at(until)
    name = stored_queue(view.store, queue)
    events = events_for(view.store, name, first, last, hears)
    return compare(events, name, variants, since=first, compacted=newest_compaction(view.store, last), plays=plays)


def compare(
    events: Iterable[tuple[int, Event]],
    queue: str,
    variants: Sequence[Variant],
    *,
    since: int = 1,
    compacted: JournalCompacted | None = None,
    plays: Callable[[str, int], Tell] = lambda name, total: lambda count: None,
) -> Comparison:
    """As `what_if`, of events from wherever they come."""
    with without_collector():
        return _compare(Hearing(queue, since, compacted), events, variants, plays)


def _compare(
    hearing: Hearing, events: Iterable[tuple[int, Event]], variants: Sequence[Variant], plays: Callable[[str, int], Tell]
) -> Comparison:
    hear, seq = hearing.hear, 0
    try:
        for seq, event in events:
            hear(seq, event)
    except KeyError:
        raise JournalCorrupt(
            f"record {seq} speaks of a task that no record before it submitted: run `journeyman verify`, and restore a backup", seq
        ) from None
    recording, recorded = hearing.finish()
    if not recording.pool:
        shown = shown_name(recording.queue)
        raise ValueError(f"no run of queue {shown!r} came to its end in this span, so there is nothing to play: give a wider one")
    as_it_was = Player(recording, None, plays("as it was", len(recording))).play()
    found = [Outcome(each, Player(recording, each.facts, plays(each.name, len(recording))).play()) for each in variants]
    baseline = _baseline(recording, as_it_was)
    return Comparison(recording, recorded, baseline, as_it_was, found, _assumptions(recording, found))


# --- how near --------------------------------------------------------------------------------------------------------------


def _baseline(recording: Recording, played: Played) -> Baseline:
    errors = sorted(map(abs, played.differences))
    pairs = zip(played.differences, played.recorded_waits, strict=True)
    near = sum(1 for difference, wait in pairs if abs(difference) <= max(NEAR_US, NEAR_SHARE * wait))
    count = len(errors)
    starts = recording.starts
    share = near / count if count else None
    trusted = not starts or (share is not None and share >= ENOUGH and count >= ENOUGH * starts)
    bias = sum(played.differences) / count if count else None
    return Baseline(
        starts=starts,
        compared=count,
        error_mean_us=sum(errors) / count if count else None,
        error_p95_us=percentile(errors, 95),
        error_max_us=errors[-1] if errors else None,
        bias_us=bias,
        near=share,
        trusted=trusted,
        reasons=_reasons(recording, played, count, bias or 0.0),
    )


def _reasons(recording: Recording, played: Played, compared: int, bias: float) -> list[str]:
    """What in the recording may keep a play from being true."""
    found: list[str] = []
    if recording.pruned:
        found.append(f"{recording.pruned} tasks of this span have left the journal (retention): the load was heavier than what is played")
    if recording.compacted:
        found.append(
            "prunes and policies of this span were folded together: an unknown number of tasks is gone, and early policies are not known"
        )
    if recording.down_us:
        found.append(
            f"the engine was opened {recording.boots} times and was down for {recording.down_us / SECOND_US:.3g} s; "
            "since when it started nothing is partly a guess"
        )
    if recording.policy.limiter is not None:
        found.append(f"the rate is the shared limiter {recording.policy.limiter!r}: its turns among queues are not played")
    if recording.steps:
        found.append(f"the clock was stepped {recording.steps} times")
    if recording.unfit:
        found.append(f"{recording.unfit} tasks were set aside, as their arguments did not fit their handler")
    if compared < recording.starts:
        found.append(f"{recording.starts - compared} recorded starts have no counterpart")
    if bias < -NEAR_US:
        found.append(
            "tasks waited longer than their queue's policy explains: slots shared with other queues (max_concurrency), "
            "handlers that were missing, time-outs whose threads went on, or a process too busy to start them"
        )
    elif bias > NEAR_US:
        found.append("tasks started earlier than the policy explains: a policy that changed, or tasks that are no longer in the journal")
    if played.unheard:
        found.append(f"{played.unheard} orders found their task in another state")
    return found


def _assumptions(recording: Recording, outcomes: Sequence[Outcome]) -> list[str]:
    runs = len(recording.kind)
    overhead = recording.shared_us / runs / 1_000 if runs else 0.0
    found = [
        f"each run takes and comes to what was recorded of it (with {overhead:.3g} ms of commits and the like), whatever runs beside it",
        "other queues leave this one all the slots it may have; tasks came when they came, but for those that its own runs submitted",
        "a run that was never recorded is drawn from the recorded ones of its handler; nothing starts while the engine was down",
    ]
    keys = {key for outcome in outcomes for key in outcome.variant.facts}
    if hidden := max((outcome.played.hidden for outcome in outcomes), default=0):
        found.append(
            f"{hidden} runs that the recorded time-out ended fail here as they did: no longer run of their handler is known, "
            "so how long they would have gone on, and whether they would have succeeded, nobody can tell"
        )
    if "weight" in keys:
        found.append("weight counts among queues that share slots or a limiter, which is not played: it changes nothing here")
    if "timeout_us" in keys:
        found.append("handlers that have a time-out of their own keep it in truth; here the new one holds for all but tasks that named one")
    if "max_pending" in keys:
        found.append("submits that were refused are not in the journal: with more room they would have come as well")
    return found


__all__ = ["Baseline", "Comparison", "Outcome", "Variant", "compare", "what_if"]

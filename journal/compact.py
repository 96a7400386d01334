"""Compaction: many small records about boots, policies, pauses and prunes become one, so that the file stops growing.

Problem.  In steady state tasks come and go, but each prune, boot and configuration leaves a record behind for ever.  Choice: now and then
one JournalCompacted takes their place.  It carries the facts of every queue as of its own position and running totals; the records it
replaces, all at or below the newest complete checkpoint, are deleted in its commit.  A fold from the first event meets it late, after
events that are younger than some of the facts; that is why facts are merged by the seq that set them (`QueueState.merge_facts`).

What the events of the application's key-values had to say is over when another has taken the place of one: those go without a word.  They
may come by the thousand a second, so one commit takes a bounded number, the oldest, so that no event outlives the one that took its place.

Not replaced: the newest EngineBooted (its boot has not ended), and ClockStepped (it moves tasks that may still be there; there are few).
Rejected: rewriting the log's head into a new segment (surviving records never change), a snapshot of everything as the new first record (it
grows with the queues' tasks).
"""

from __future__ import annotations

from typing import NamedTuple

from journeyman.journal.checkpoint import Checkpoint
from journeyman.journal.log import Journal, seq_key
from journeyman.journal.store import Batch, Table
from journeyman.kernel.bounds import COMPACT_MOST
from journeyman.kernel.events import EngineBooted, JournalCompacted, TasksPruned
from journeyman.kernel.world import JournalState


class Compaction(NamedTuple):
    """Fold and seal `event` with `extra` in the same commit, in the same step that planned it."""

    event: JournalCompacted
    extra: Batch
    whole: bool  # whether no more are left that could go now


def compact(
    journal: Journal, checkpoint: Checkpoint, world: JournalState, now: int, *, at_least: int, at_most: int = COMPACT_MOST
) -> Compaction | None:
    """Replace the oldest loose records by one, when there are `at_least` of them below the newest checkpoint; else None."""
    through = checkpoint.through_seq
    old = sorted({seq for seq in journal.loose if seq <= through})
    if len(old) < at_least:
        return None
    whole = len(old) <= at_most
    if not whole:
        old = old[:at_most]
        through = old[-1]
    totals: dict[str, int] = {"boots": world.boots, "records": 0, "tasks": 0, "task_records": 0}
    gone: list[int] = []
    last_boot: int | None = None
    newest: dict[str, int] = {}  # by queue: what feeds that are further back have lost
    for seq, event in journal.events(old):
        if isinstance(event, EngineBooted):
            if last_boot is not None:
                gone.append(last_boot)
                newest[""] = max(newest.get("", 0), last_boot)
            last_boot = seq
            continue
        newest[event.queue] = seq
        gone.append(seq)
        if isinstance(event, TasksPruned):
            totals["tasks"] += len(event.entries)
            totals["task_records"] += sum(entry[2] for entry in event.entries)
        elif isinstance(event, JournalCompacted):
            for name in ("records", "tasks", "task_records"):
                totals[name] += event.totals.get(name, 0)
    totals["records"] += len(gone)
    extra = Batch()
    extra.delete(Table.EVENTS, [seq_key(seq) for seq in sorted(gone)])
    left = set(gone)
    journal.loose = [seq for seq in journal.loose if seq not in left]
    facts = {name: queue.facts() for name, queue in sorted(world.queues.items())}
    for name, seq in newest.items():
        if name:
            facts[name]["gone_seq"] = max(facts[name]["gone_seq"], seq)
    of_journal = max(world.gone_seq, newest.get("", 0))
    options = {"gone_seq": of_journal} if of_journal else None
    return Compaction(JournalCompacted(now, "", 0, world.boots, through, facts, totals, options), extra, whole)

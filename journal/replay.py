"""The whole history folded with the code that is installed: how fast, and whether it reads the past as it was read when it was written.

Problem.  Events state facts, but what they add up to is said by code.  A changed `apply` may read the past differently, and nothing
complains until an operator wonders.  Choice: the checkpoint keeps what the code of that day made of the events: a row for each task, the
facts of each queue, the sum of all digests.  Folding everything with the code of today must lead to the same; the first task that differs
is named.  It is the check to run on a copy of a production journal before a deploy.

How exact the place is: an event that cannot be folded is named by its seq.  A task whose row differs was read otherwise in one of its own
events; the row says which facts differ, not when they began to, so the first of its events is named, and its last.  Differing facts of a
queue have no better place than the checkpoint.

Damage ends it, with exit code 3: what cannot be read cannot be replayed, and `journeyman verify` says all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.findings import Finding, Findings
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.verify import Examination
from journeyman.kernel.ids import id_text


def replay(store: LmdbStore, tell: Callable[[str, int, int], Any], *, compared: bool) -> dict[str, Any]:
    """Fold everything.  `compared`: with the rows, the facts and the indexes too.  CBOR-able and JSON-able figures."""
    findings = Findings(tell=_refuse_damage)
    examination = Examination(store, findings, tell, payloads=False)
    started = time.perf_counter()
    if compared:
        examination.run()
    else:
        examination.fold_only()
    fold = examination.fold
    seconds = time.perf_counter() - started
    differences = sorted(fold.differences)
    return {
        "events": fold.events,
        "seconds": seconds,
        "held": fold.held,
        "ended": fold.matched,
        "digest": f"{fold.digest:032x}",
        "checkpoint": fold.checkpoint,
        "last_seq": examination.reading.next - 1,
        "differences": [
            {"seq": found.seq, "first": found.first, "task": None if found.task is None else id_text(found.task), "text": found.text}
            for found in sorted(differences, key=lambda found: found.first)[:100]
        ],
        "more": fold.more + max(0, len(differences) - 100),
        "tables": [finding.text for finding in findings.listed if finding.table not in ("STATE",)][:100],
    }


def _refuse_damage(finding: Finding) -> None:
    """Records must be sound; what the tables say otherwise is an answer."""
    if finding.table in ("EVENTS", "CHAIN", "FILE"):
        raise JournalCorrupt(f"{finding.text}: run `journeyman verify`, and replay a sound journal", finding.seq)


__all__ = ["replay"]

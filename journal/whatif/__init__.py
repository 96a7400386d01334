"""What if a queue had had another policy?  Its recorded tasks, played in virtual time under it.

    with open_journal("var/jobs") as journal:
        found = what_if(journal, "mail", [Variant("more", settings(["concurrency=16"]))])
        print(found.recorded.wait_p95_us, found.baseline.trusted, found.variants[0].played.figures.wait_p95_us)

Problem.  Whether twice the slots would have halved the waits cannot be told from averages: keys, rates, retries and restarts are in the
way.  Choice: play what happened once more, with the kernel that decides in production.  What a handler took and came to is taken as
recorded; everything that follows from the policy (who starts when, who waits, who is tried again) is decided anew.  Since that can only
be as good as the recording, the first play is always one under the recorded policy, and is measured against what happened: where it does
not reproduce the recorded waits, no other play deserves trust either, and the answer says so.

Rejected: a queueing formula (knows no keys, no retries); the simulator with made-up handlers (thousands of times slower, and it plays the
whole engine, so its answer hangs on more than the policy).
"""

from __future__ import annotations

from journeyman.journal.whatif.comparing import Baseline, Comparison, Outcome, Variant, compare, what_if
from journeyman.journal.whatif.hearing import Hearing
from journeyman.journal.whatif.meter import Figures
from journeyman.journal.whatif.playing import Played, Player
from journeyman.journal.whatif.settings import SETTINGS, settings

__all__ = [
    "SETTINGS", "Baseline", "Comparison", "Figures", "Hearing", "Outcome", "Played", "Player", "Variant", "compare", "settings", "what_if",
]  # fmt: skip

"""Every crash test of this project, with a table at the end.  `make crash`; `make crash-quick` takes about two minutes.

    python tests/crash/run.py [--quick] [--only kill,power,replay,inject,damage] [--seed N] [--keep]

Exit 0: nothing was violated (what this machine cannot do is listed as skipped).  1: a violation.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # instead of this folder, whose files have names of their own

_LINKS = Path(__file__).resolve().parents[2] / ".build"
if (_LINKS / "journeyman").is_dir():
    sys.path.insert(1, str(_LINKS))

from crash import damage, inject, kill, power, replay, sound  # noqa: E402 - the path comes first
from crash.report import Report  # noqa: E402

SUITES = {"sound": sound, "kill": kill, "power": power, "replay": replay, "inject": inject, "damage": damage}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds of everything: about two minutes")
    parser.add_argument("--only", default=",".join(SUITES), help="suites, separated by commas")
    parser.add_argument("--seed", type=int, default=None, help="of all chance in the tests; printed, so that a run can be repeated")
    parser.add_argument("--keep", action="store_true", help="leave the scratch directory behind")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - SUITES.keys()
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
    scratch = Path(tempfile.mkdtemp(prefix="journeyman-crash-"))
    report, began = Report(), time.monotonic()
    sys.stderr.write(f"crash tests, seed {seed}, in {scratch}\n")
    try:
        for name in options.only.split(","):
            SUITES[name].run(report, scratch / name, quick=options.quick, chance=random.Random(f"{seed}-{name}"))
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the table shows what was done\n")
        return 130
    finally:
        print(report.render())
        print(f"{time.monotonic() - began:.0f} s, seed {seed}")
        if options.keep or not report.good:
            print(f"left behind: {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    print("nothing was violated" if report.good else "VIOLATED: see above")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())

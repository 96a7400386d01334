"""Crash safety, tried for real: kills, power cuts, replayed disks, failing calls, damaged files.  `python tests/crash/run.py`."""

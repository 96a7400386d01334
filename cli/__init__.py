"""The command line: `journeyman`, or `python -m journeyman`.  It needs the extra `cli`."""

"""The trio shell: what waits, runs, times and writes.  Decisions are the kernel's; bytes are the journal's."""

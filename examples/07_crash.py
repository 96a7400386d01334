"""Kill the process in the middle of a task; the next one finds everything and carries on.

The program runs itself twice: the first process is killed by SIGKILL from inside its own second task, the second one finishes the work.
"""

import os
import signal
import subprocess
import sys
import tempfile
import uuid

import trio

from journeyman import Context, Engine, Queue

letters = Queue("letters")


@letters.handler
async def write(ctx: Context, to: str) -> str:
    print(f"  attempt {ctx.attempt}: writing to {to}", flush=True)
    if to == "Bob" and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # no exception, no finally, no goodbye
    return f"dear {to}"


async def main(journal: str) -> None:
    async with Engine(journal, queues=[letters]) as engine:
        # A chosen id makes submitting idempotent: the second process finds the tasks of the first.
        names = ("Ada", "Bob", "Cleo")
        handles = [await engine.submit(write.using(id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"letter:{name}"))), name) for name in names]
        print([await handle.result() for handle in handles])


if len(sys.argv) > 1:
    trio.run(main, sys.argv[1])
else:
    with tempfile.TemporaryDirectory() as folder:
        for run in ("first", "second"):
            print(run, "process", flush=True)
            code = subprocess.run([sys.executable, __file__, f"{folder}/journal"], check=False).returncode
            print("  ended with", signal.Signals(-code).name if code < 0 else code, flush=True)

# Output:
# first process
#   attempt 1: writing to Ada
#   attempt 1: writing to Bob
#   ended with SIGKILL
# second process
#   attempt 2: writing to Bob
#   attempt 1: writing to Cleo
# ['dear Ada', 'dear Bob', 'dear Cleo']
#   ended with 0

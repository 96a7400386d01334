"""The tools tried on a patient whose health is known: a bare py-lmdb program, safe or unsafe.

A crash test that cannot fail proves nothing.  So before the journal is judged, the same power cuts and the same replayed disks are
run on plain LMDB with its default flags, which must survive all of them, and with `sync=False`, which must not.

    python -m crash.raw write DIR sync|metasync|nosync SECONDS      acknowledges each commit's last number on descriptor 77
    python -m crash.raw check DIR ACKED                             exit 0: all there; 1: a violation, named
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time

from crash.programs import ACK_FD

FLAGS = {"sync": {}, "metasync": {"metasync": False}, "nosync": {"sync": False}}


def value(seq: int) -> bytes:
    seed = hashlib.blake2b(seq.to_bytes(8, "big"), digest_size=32).digest()
    body = (seed * 40)[: 100 + seed[0] * 4]
    return hashlib.blake2b(body, digest_size=8).digest() + body


def write(path: str, mode: str, seconds: float) -> None:
    import lmdb

    os.makedirs(path, exist_ok=True)
    env = lmdb.open(path, map_size=1 << 28, max_dbs=2, lib_version=0, **FLAGS[mode])
    for made in (path, os.path.dirname(path)):
        fd = os.open(made, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    with env.begin() as txn, txn.cursor() as cursor:
        seq = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 1
    chance, until = random.Random(), time.monotonic() + seconds
    while time.monotonic() < until:
        many = chance.choice((1, 1, 2, 5, 20))
        with env.begin(write=True) as txn:
            for number in range(seq, seq + many):
                txn.put(number.to_bytes(8, "big"), value(number), append=True)
            with txn.cursor() as cursor:  # keep 4,000, so that freed pages are used again
                while cursor.first() and int.from_bytes(cursor.key(), "big") < seq - 4000:
                    cursor.delete()
        seq += many
        os.write(ACK_FD, b"%d\n" % (seq - 1))


def violation(path: str, acked: int) -> str | None:
    """What is wrong with the database, or None."""
    import lmdb

    if acked == 0 and not os.path.exists(os.path.join(path, "data.mdb")):
        return None
    env = lmdb.open(path, map_size=1 << 28, max_dbs=2, lib_version=0)
    try:
        before = None
        with env.begin() as txn:
            for key, found in txn.cursor():
                seq = int.from_bytes(key, "big")
                if found != value(seq):
                    return f"record {seq} is damaged"
                if before is not None and seq != before + 1:
                    return f"a gap after {before}"
                before = seq
        if (before or 0) < acked:
            return f"acknowledged up to {acked}, found up to {before or 0}"
        for number in range(3):
            with env.begin(write=True) as txn:
                txn.put(b"z%d" % number, b"x")
            with env.begin(write=True) as txn:
                txn.delete(b"z%d" % number)
    except lmdb.Error as error:
        return f"{type(error).__name__}: {error}"
    finally:
        env.close()
    return None


def last_ack(acks: bytes) -> int:
    whole = acks[: acks.rfind(b"\n") + 1].split()
    return int(whole[-1]) if whole else 0


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        problem = violation(sys.argv[2], int(sys.argv[3]))
        if problem:
            print(problem)
            sys.exit(1)

"""`repair` turns back one flipped bit in the write-ahead log, wherever it is, and loses nothing by it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from journeyman.journal.log_mending import mended_log
from journeyman.journal.opening import open_store
from journeyman.journal.prover import verify
from journeyman.journal.repair import repair
from journeyman.journal.store import Table
from journeyman.journal.wal import FRONT, decode_log, read_log
from tests.journal.logged import CROWD, ask, child, copied, poke, said


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A killed journal whose log has a commit of one event, one of `CROWD`, and two of one; the seq that was acknowledged."""
    path = tmp_path_factory.mktemp("crowded") / "jobs"
    with child("leave", path, 0, 1, 1) as process:
        said(process)
        last = max(int(ask(process, commit)) for commit in ("crowd", "one", "one"))
    assert [len(each.events) for each in decode_log(read_log(str(path)))] == [1, CROWD, 1, 1]
    return path, last


def flipped(log: bytes, *places: tuple[int, int]) -> bytes:
    draft = bytearray(log)
    for offset, bit in places:
        draft[offset] ^= 1 << bit
    return bytes(draft)


def test_a_bit_anywhere_in_a_commit_is_found(crowded: tuple[Path, int]) -> None:
    log, dice = read_log(str(crowded[0])), random.Random(1)
    ends = [FRONT, *(each.end for each in decode_log(log))]
    heads = [start + n for start in ends[:-1] for n in range(36)]
    for offset in [*dice.sample(heads, 30), *dice.sample(range(FRONT, ends[-1]), 20), *dice.sample(range(ends[1] + 36, ends[2]), 20)]:
        spoiled = flipped(log, (offset, dice.randrange(8)))
        assert len(decode_log(spoiled)) < 4
        found, turned = mended_log(spoiled)
        assert found == log, offset
        assert [each.offset for each in turned] == [offset]


def test_a_sound_log_is_left_as_it_is(crowded: tuple[Path, int]) -> None:
    log = read_log(str(crowded[0]))
    assert mended_log(log) == (log, [])
    assert mended_log(b"") == (b"", [])
    assert mended_log(log[:FRONT]) == (log[:FRONT], [])
    for cut in (1, 20, 36, 37, 60):
        torn = log[: decode_log(log)[-2].end + cut]
        assert mended_log(torn) == (torn, []), "what was never finished does not come right"


def test_two_bits_are_too_many(crowded: tuple[Path, int]) -> None:
    log = read_log(str(crowded[0]))
    first, second, *_ = decode_log(log)
    spoiled = flipped(log, (first.end - 1, 0), (first.end - 3, 5))
    assert mended_log(spoiled) == (spoiled, [])
    both = flipped(log, (first.end - 1, 0), (second.end - 1, 3))
    assert mended_log(both)[0] == log, "one in each of two commits is one at a time"


@pytest.mark.parametrize("where", ["a record", "a payload", "a length", "the digest", "the salt"])
def test_repair_loses_nothing_by_one_bit(where: str, crowded: tuple[Path, int], tmp_path: Path) -> None:
    path, last = copied(crowded[0], tmp_path / "jobs"), crowded[1]
    crowd = decode_log(read_log(str(path)))[1]
    start = decode_log(read_log(str(path)))[0].end
    offset = {"a record": start + 36 + 150, "a payload": crowd.end - 1, "a length": start + 36, "the digest": start + 30, "the salt": 9}[
        where
    ]
    poke(path, offset, flipped(read_log(str(path))[offset : offset + 1], (0, 4)))
    assert not verify(path).sound
    found = repair(path, tmp_path / "copy")
    assert found.lost == 0
    assert len(found.mended) == (where != "the salt")
    assert verify(tmp_path / "copy").sound
    store = open_store(tmp_path / "copy", readonly=True)
    assert store.get(Table.EVENTS, last.to_bytes(8, "big")) is not None
    store.close()

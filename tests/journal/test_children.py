"""A child that looks at a journal never outlives the one who asked."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeyman.journal.children import begun

TIMES = 30


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_it_is_being_started() -> None:
    """It comes as soon as there is a child, mostly before `Popen` has returned."""
    known = children()

    def strike() -> None:
        while children() == known:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(TIMES):
        thread = threading.Thread(target=strike)
        thread.start()
        with pytest.raises(KeyboardInterrupt), begun("http.server", "0") as child:
            child.wait(30)
        thread.join()
        assert children() == known


def test_one_that_does_not_listen_is_ended_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deaf.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("journeyman.journal.children.PATIENCE", 0.2)
    started = time.monotonic()
    with begun("deaf") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n"
    assert child.returncode == -signal.SIGKILL
    assert time.monotonic() - started < 30

"""The pages in a real browser, where one is installed: nothing of them is refused by their own policy, and no script of others runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.dashboard.browsing import Page, Server
from tests.dashboard.sample import SCRIPT, made

BROWSER = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--enable-logging=stderr", "--v=0",
)  # fmt: skip


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
def test_row_65_in_a_browser(tmp_path: Path) -> None:
    ids = made(tmp_path / "jobs", 3)
    with Server(tmp_path / "jobs", "--base-path", "/jobs") as server:
        for place, words in (("/", "Queues"), (f"/task/{ids['failed']}", SCRIPT), ("/upcoming", "By due instant")):
            call = [
                str(BROWSER),
                *QUIET,
                f"--user-data-dir={tmp_path / 'profile'}",
                "--dump-dom",
                f"http://localhost:{server.port}/jobs{place}",
            ]
            ran = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
            page = Page(ran.stdout)
            assert words in page.words, ran.stderr
            assert "script" not in {tag for tag, _ in page.tags}
            assert "Content Security Policy" not in ran.stderr
        picture = tmp_path / "page.png"
        call = [
            str(BROWSER),
            *QUIET,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={picture}",
            "--window-size=390,800",
            server.address,
        ]
        subprocess.run(call, capture_output=True, timeout=60, check=False)
        assert picture.stat().st_size > 5_000

"""Web pages of a journal, for reading only: `app` (extra `web`; docs/WEB.md)."""

from __future__ import annotations

from journeyman.dashboard.app import app

__all__ = ["app"]

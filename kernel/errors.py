"""The root of every error this project raises on purpose; the whole tree is drawn in engine/errors.py."""

from __future__ import annotations


class JourneymanError(Exception):
    """Anything Journeyman raises to tell a caller, an operator or a developer what to do next."""


__all__ = ["JourneymanError"]

"""The root of every error Journeyman raises.  The whole tree is drawn in journeyman.engine.errors."""

from __future__ import annotations


class JourneymanError(Exception):
    """Catch this to catch whatever Journeyman itself has to say.  Bad values of arguments are plain ValueError or TypeError."""

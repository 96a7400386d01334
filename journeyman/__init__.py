"""Journeyman: an embedded, durable task engine.  Whatever journeyman.engine offers can be imported from here."""

from journeyman.engine import *  # noqa: F403
from journeyman.engine import __all__ as __all__

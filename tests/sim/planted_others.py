"""The bugs that have pages of their own (tests/sim/planted.py)."""

from __future__ import annotations

from tests.sim.planted_feeds import FEEDS
from tests.sim.planted_links import LINKS
from tests.sim.planted_room import ROOM
from tests.sim.planted_schedules import SCHEDULES
from tests.sim.planted_steps import STEPS
from tests.sim.planted_values import VALUES

OTHERS = (*LINKS, *FEEDS, *ROOM, *SCHEDULES, *STEPS, *VALUES)

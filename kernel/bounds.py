"""Every bound of the system, in one place, with the relations between them asserted.

Problem.  A number that limits something is a promise to somebody, and promises scattered over files contradict each other.
Choice: each bound lives here once, with its unit in its name; whoever needs one imports it; the assertions at the end hold
whenever the module is imported, so a careless change does not even start.

Instants are microseconds UTC, durations microseconds, sizes bytes.
"""

from __future__ import annotations

from typing import Final

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3_600 * SECOND_US
DAY_US: Final = 24 * HOUR_US

# --- time -------------------------------------------------------------------------------------------------------------
DURATION_MAX_US: Final = 36_525 * DAY_US  # a hundred years: longer delays are mistakes
INSTANT_MAX_US: Final = 1 << 61  # about the year 75,000; two of them still add up within 63 bits
CLOCK_STEP_MIN_US: Final = HOUR_US  # a gap to the wall clock larger than this is journalled as a step

# --- names and submissions --------------------------------------------------------------------------------------------
NAME_MAX_BYTES: Final = 128
ID_BYTES: Final = 16
DIGEST_BYTES: Final = 16
PAYLOAD_DEFAULT_MAX_BYTES: Final = 1 << 20
PAYLOAD_MAX_BYTES: Final = 1 << 30  # what a queue may raise max_payload to
TAGS_MAX: Final = 32  # of one task
STEPS_MAX: Final = 1_000  # recorded of one task: each is told in its row, and its name kept in memory until it has ended
META_MAX_BYTES: Final = 4_096  # of one task's `meta`, keys and values together
VALUE_KEY_MAX_BYTES: Final = 256  # of the application's key-values
VALUE_MAX_BYTES: Final = 1 << 20
CHANGES_MAX: Final = 10_000  # keys that one transaction, or one run of a handler, reads or changes
LISTED_BYTES: Final = 64 << 20  # of values in one answer
CHANGES_MAX_BYTES: Final = 64 << 20  # of the values it puts, together
PRIORITY_MIN: Final = -(1 << 31)
PRIORITY_MAX: Final = (1 << 31) - 1

# --- policies ---------------------------------------------------------------------------------------------------------
WEIGHT_MAX: Final = 1_000  # of a queue among others
CONCURRENCY_MAX: Final = 100_000
ATTEMPTS_MAX: Final = 1 << 53
FACTOR_MAX: Final = 1_000_000  # of an exponential backoff
BACKOFF_DEFAULT_CAP_US: Final = HOUR_US
RATE_LIMIT_MAX: Final = 1_000_000_000
BURST_MAX: Final = 1_000_000_000
PPM: Final = 1_000_000  # one whole, in millionths

# --- recurring --------------------------------------------------------------------------------------------------------
SCHEDULE_GRACE_US: Final = 60 * SECOND_US  # a fire that is decided no later than this is on time
SCHEDULE_ALL_MAX: Final = 1_000  # fires that misfire="all" makes up for, the newest
SCHEDULE_COUNT_MAX: Final = 100  # fires passed over that are counted exactly, of cron
SCHEDULE_RUNS_MAX: Final = 32  # stretches of fire times without a gap that are told apart
FIRE_MAX_US: Final = 253_086_768_000 * SECOND_US  # 9990-01-01: nothing fires after it, for calendars end with the year 9999
EVERY_MIN_US: Final = SECOND_US // 10
PREVIEW_MAX: Final = 10_000  # fire times that can be asked for

# --- indexes (kernel) -------------------------------------------------------------------------------------------------
ROSTER_CHUNK: Final = 512  # tasks in one piece of a roster
STALE_MIN: Final = 1_024  # an index is not tidied for fewer dead entries than this

# --- the shell ----------------------------------------------------------------------------------------------------------
ERROR_MESSAGE_MAX: Final = 4_096  # characters of an error's text that are kept
ERROR_TYPE_MAX: Final = 512  # characters of the name of an error's type, and of each class it derives from
ERROR_MRO_MAX: Final = 64  # classes that it derives from whose names are kept
ERROR_TRACEBACK_MAX: Final = 16_384  # characters of a traceback that are kept, its end
PROGRESS_MESSAGE_MAX: Final = 1_024  # characters
REASON_MAX: Final = 1_024  # characters of why somebody did something
BY_MAX: Final = 128  # characters of who it was
PARKING_REASON_MAX: Final = 1_024  # characters of why a queue was parked
FRESH_PAYLOAD_BYTES: Final = 8 << 20  # arguments kept in memory, per queue, for the start that follows soon
READ_AHEAD_TASKS: Final = 64  # next in line, whose arguments are read along with those that start
READ_AHEAD_BYTES: Final = 4_096  # larger arguments are read when they are wanted
SUBMIT_MANY_MAX: Final = 100_000  # tasks in one atomic submit
CHECKPOINT_EVENTS: Final = 100_000  # events of tasks that existed before, after which a checkpoint is due
CHECKPOINT_TAIL_EVENTS: Final = 500_000  # events of any kind: recovery reads about 180,000 a second
CHECKPOINT_QUIET_EVENTS: Final = 1_000  # after which the next minute takes one; fewer wait longer (actors/housekeeper.py)
FREEZE_TASKS: Final = 10_000  # tasks read at open, from which on the cyclic collector is told to leave them alone
CHECKPOINT_ROWS: Final = 64  # rows encoded between two turns of the loop: about half a millisecond
CLOSING_TAIL_EVENTS: Final = 20_000  # a shorter tail is replayed sooner than it is checkpointed at close
PRUNE_TASKS: Final = 200  # tasks deleted in one commit
SCHEDULES_MAX: Final = 1_000  # of one queue
SCHEDULE_PAYLOAD_MAX_BYTES: Final = 1 << 14  # its arguments are kept in memory and in the queue's facts
OPERATION_CHUNK: Final = 1_000  # tasks that a bulk operator action changes in one step
COMPACT_RECORDS: Final = 200  # bookkeeping records that are folded into one
COMPACT_MOST: Final = 2_000  # of them in one commit

assert HOUR_US <= BACKOFF_DEFAULT_CAP_US <= DURATION_MAX_US
assert DURATION_MAX_US < INSTANT_MAX_US < 1 << 62, "now + any duration must fit 63 bits"
assert PAYLOAD_DEFAULT_MAX_BYTES <= PAYLOAD_MAX_BYTES
assert NAME_MAX_BYTES + 1 + VALUE_KEY_MAX_BYTES <= 511, "a namespace and a key must fit a key of LMDB"
assert VALUE_MAX_BYTES <= CHANGES_MAX_BYTES
assert COMPACT_RECORDS <= COMPACT_MOST
assert PRIORITY_MIN < 0 < PRIORITY_MAX
assert ROSTER_CHUNK <= STALE_MIN

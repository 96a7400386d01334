"""What must hold in every simulated world, always.  One small class for each promise; `policies.py` says which policy each one watches."""

from __future__ import annotations

from typing import Final

from journeyman.sim.invariants.answers import AcknowledgedIsDurable, AnswersAgree, RefusalsAreTrue
from journeyman.sim.invariants.budgets import BackoffWithinBounds, CrashesWithinBudget, FailuresWithinAttempts, InterruptedStaysSo
from journeyman.sim.invariants.dependencies import RunsAfter
from journeyman.sim.invariants.fairness import TenantsInTurn
from journeyman.sim.invariants.feeds import FeedsMissNothing
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.invariants.keys import KeysInOrder, KeysWithinLimit
from journeyman.sim.invariants.life import (
    AttemptsCountUp,
    CancelIsKept,
    OneLiveAttempt,
    StaleWordsChangeNothing,
    StartsWhenDue,
    Transitions,
)
from journeyman.sim.invariants.limits import (
    BestFirst,
    ConcurrencyWithinLimit,
    EngineWithinLimit,
    ParkingIsKept,
    PauseIsKept,
    RoomWithinLimit,
    SuspectsOneByOne,
)
from journeyman.sim.invariants.namespaces import NamespaceWithinBudget
from journeyman.sim.invariants.operators import OrdersAreDone, PolicyStaysAsOrdered
from journeyman.sim.invariants.promptness import StartsPromptly
from journeyman.sim.invariants.rates import EntriesWithinRate, StartsWithinKeyRate, StartsWithinRate
from journeyman.sim.invariants.records import ChainHolds, NumbersWithoutGaps, TimeGoesOn
from journeyman.sim.invariants.recurring import (
    FiresAtItsTimes,
    FiresOnce,
    FiresPromptly,
    MisfiresAsPromised,
    OverlapAsPromised,
    SchedulesAgree,
)
from journeyman.sim.invariants.replay import LiveEqualsReplayed, RecoveredEqualsFolded
from journeyman.sim.invariants.retention import ExpiryIsThePolicys, NothingKeptLate, NothingPrunedEarly, PayloadsKeptAsPromised
from journeyman.sim.invariants.steps import StepsRunOnce
from journeyman.sim.invariants.unique import DebouncedAsPromised, OneOfAKey
from journeyman.sim.invariants.values import PutsWithSuccess, TransactionsWhole, ValuesAgree

BUILT_IN: Final[tuple[type[Invariant], ...]] = (
    NumbersWithoutGaps,
    TimeGoesOn,
    ChainHolds,
    Transitions,
    AttemptsCountUp,
    OneLiveAttempt,
    StartsWhenDue,
    StartsPromptly,
    StaleWordsChangeNothing,
    CancelIsKept,
    FailuresWithinAttempts,
    CrashesWithinBudget,
    InterruptedStaysSo,
    BackoffWithinBounds,
    ConcurrencyWithinLimit,
    EngineWithinLimit,
    RoomWithinLimit,
    PauseIsKept,
    PolicyStaysAsOrdered,
    OrdersAreDone,
    ParkingIsKept,
    NamespaceWithinBudget,
    SuspectsOneByOne,
    KeysWithinLimit,
    KeysInOrder,
    BestFirst,
    TenantsInTurn,
    StartsWithinRate,
    StartsWithinKeyRate,
    EntriesWithinRate,
    OneOfAKey,
    DebouncedAsPromised,
    RunsAfter,
    ExpiryIsThePolicys,
    NothingPrunedEarly,
    NothingKeptLate,
    PayloadsKeptAsPromised,
    StepsRunOnce,
    FiresOnce,
    FiresAtItsTimes,
    MisfiresAsPromised,
    OverlapAsPromised,
    FiresPromptly,
    SchedulesAgree,
    PutsWithSuccess,
    ValuesAgree,
    TransactionsWhole,
    AcknowledgedIsDurable,
    RefusalsAreTrue,
    AnswersAgree,
    FeedsMissNothing,
    LiveEqualsReplayed,
    RecoveredEqualsFolded,
)

__all__ = ["BUILT_IN", "Invariant"]

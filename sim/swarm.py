"""The swarm: from one seed a whole plan, of a kind of its own.

    scenario, faults = swarm_scenario(seed)
    simulate(scenario, seed=seed, faults=faults, converge=True)          # the same as swarm(seed).run()

The seed decides first what kind of run it is (which faults, which policies, which verbs and acts are in at all), then draws the run from
what is in.  How often each thing is in stands in sim/odds.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from journeyman.sim import odds
from journeyman.sim.faults import Faults
from journeyman.sim.odds import drawn, some, stream
from journeyman.sim.plan import Plan, Step
from journeyman.sim.world import World

QUEUES = ("mail", "media", "api")
STATES = ("failed", "cancelled", "interrupted")
LATE = "late"
PLUGINS = ("p1", "p2")
SCHEDULES = ("nightly", "hourly")


def swarm(seed: int) -> Plan:
    """The plan of a seed."""
    return _Swarm(seed).plan()


def swarm_scenario(seed: int) -> tuple[Callable[[World], Awaitable[None]], Faults]:
    """The same as a scenario and its faults."""
    plan = swarm(seed)
    return plan.scenario, plan.fault_plan


class _Swarm:
    """One draw."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = Random(f"{seed}-swarm")
        chance = self.chance
        # The kind of run.
        self.policies = some(chance, odds.POLICY, 0.6)
        self.options = some(chance, odds.PLAIN, 0.6)
        self.acts = some(chance, (name for table in (odds.ACTS, odds.LAST_ACTS, odds.SLOW_ACTS) for name in table), 0.6)
        self.keys = Random(f"{seed}-keys")
        self.keyed = self.keys.random() < odds.KEYED
        self.links = Random(f"{seed}-links")
        self.linked = self.links.random() < odds.LINKED
        self.children = chance.random() < 0.5
        self.verbs = {verb: weight for verb, (share, weight) in odds.VERBS.items() if stream(chance, verb).random() < share}
        self.pace: float = odds.PACE(chance)
        self.names = QUEUES[: chance.choice((1, 1, 2, 2, 3))]
        # What came later is strewn among the steps of a run from a stream of its own (see odds.stream).
        self.later = Random(f"{seed}-later")
        self.strewn = {verb: times for verb, (share, times) in odds.STREWN.items() if self.later.random() < share}
        self.namespaces = {name: drawn(self.later, odds.TERMS) for name in PLUGINS} if self.later.random() < odds.NAMESPACES else {}
        self.labels: list[str] = []
        self.kinds: dict[str, str] = {}  # handler -> async or def

    def plan(self) -> Plan:
        chance = self.chance
        faults = {} if chance.random() < odds.CALM else drawn(chance, odds.FAULTS)
        deploys = [[self.queue(name) for name in self.names]]
        if "deploy" in self.verbs:
            deploys += [self.redeployed(deploys[-1]) for _ in range(chance.choice((1, 2)))]
        lanes = [self.lane(n, chance.choice((5, 12, 30))) for n in range(chance.choice((1, 1, 2, 3)))]
        engine = drawn(chance, odds.ENGINE)
        if self.namespaces:
            engine["namespaces"] = self.namespaces
        self.recur(lanes)
        return Plan(self.seed, faults, engine, deploys, lanes)

    def recur(self, lanes: list[list[Step]]) -> None:
        """Put in what concerns schedules.  Drawn apart, so that it changes nothing of what else was drawn."""
        self.chance = chance = Random(f"{self.seed}-recurring")
        if chance.random() > odds.RECURRING:
            return
        verbs = {verb: weight for verb, (share, weight) in odds.RECURRING_VERBS.items() if chance.random() < share}
        for n in range(chance.choice((1, 3, 8))):
            verb = chance.choices(list(verbs), list(verbs.values()))[0] if n else "schedule"
            lane = chance.choice(lanes)
            lane.insert(chance.randrange(len(lane) // (1 if n else 3) + 1), [verb, getattr(self, f"make_{verb}")("")])

    # --- what is deployed ---------------------------------------------------------------------------------------------

    def queue(self, name: str) -> dict[str, Any]:
        kinds = self.chance.choice((("async",), ("async", "def"), ("def",), ("async",)))
        handlers: list[dict[str, Any]] = [{"name": f"{name}.{kind}", "kind": kind} for kind in kinds]
        self.kinds.update((handler["name"], handler["kind"]) for handler in handlers)
        for handler in handlers:
            if self.chance.random() < 0.1:
                handler["timeout"] = self.chance.choice((0.5, 30, None))
        return {"name": name, "policy": self.policy(), "handlers": handlers}

    def policy(self) -> dict[str, Any]:
        return {name: value for name, value in drawn(self.chance, odds.POLICY).items() if name in self.policies}

    def redeployed(self, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the next release makes of it: other policies, handlers gone or with another signature, a queue gone."""
        chance, after = self.chance, []
        for queue in before:
            fate = chance.random()
            if fate < 0.12:
                continue
            policy = self.policy() if fate < 0.6 else queue["policy"]
            handlers = []
            for handler in queue["handlers"]:
                fate = chance.random()
                if fate > 0.1:
                    handlers.append({**handler, "signature": "wider" if fate < 0.25 else "other" if fate < 0.35 else "same"})
            after.append({"name": queue["name"], "policy": policy, "handlers": handlers})
        return after

    # --- what a task does ---------------------------------------------------------------------------------------------

    def script(self, handler: str, *, depth: int = 0) -> list[Any]:
        chance = self.chance
        tables = [odds.ACTS, odds.SLOW_ACTS] if self.kinds.get(handler) != "def" else [odds.ACTS]
        acts = [[name, value] for table in tables for name, value in drawn(chance, table, 0.6).items() if name in self.acts]
        if depth:
            acts = [act for act in acts if act[0] != "hang"]  # a child has no options, so nothing would ever end it
        chance.shuffle(acts)
        if self.children and not depth and chance.random() < odds.CHILD:
            child = self.handler()
            verb = "child" if chance.random() < 0.5 or self.kinds.get(handler) == "def" else "spawn"
            acts.insert(chance.randrange(len(acts) + 1), [verb, [child, self.script(child, depth=1)]])
        ends = [[name, value] for name, value in drawn(chance, odds.LAST_ACTS, 0.6).items() if name in self.acts]
        return acts + ends[:1]

    def handler(self) -> str:
        return self.chance.choice(list(self.kinds))

    def chosen(self, script: list[Any], place: int = 0) -> dict[str, Any]:
        """Options of one submit, or of an item of a submit_many: there, its place."""
        options = {name: value for name, value in drawn(self.chance, odds.PLAIN).items() if name in self.options}
        if "delay" in options:
            options.pop("at", None)
        hangs = any(act == "hang" for act, _ in script)
        if self.keyed:
            options = self.with_key(options, hangs)
        if self.linked and "debounce" not in options:
            options |= self.after(place)
        if hangs:
            options["timeout"] = 40.0  # or nothing would ever end it
        return options

    def with_key(self, options: dict[str, Any], hangs: bool) -> dict[str, Any]:
        """Options of a submit, some with a unique key; no more than `using` takes together."""
        more = drawn(self.keys, odds.KEYS)
        if hangs:  # the task that a debounced submit moves has no time-out of this one's
            more.pop("debounce", None)
        if "unique" not in more:
            return options
        if "debounce" not in more:
            more.pop("max_wait", None)
            return options | more
        debounced = {name: more[name] for name in ("unique", "debounce", "max_wait") if name in more}
        return {name: value for name, value in options.items() if name not in ("delay", "at")} | debounced

    def after(self, place: int) -> dict[str, Any]:
        """Which earlier tasks it is to run after: labels, and places in the same submit_many."""
        more = drawn(self.links, odds.AFTER)
        choice: list[str | int] = [*self.labels[-8:], *range(place), *range(place)]
        if "after" not in more or not choice:
            return {}
        return more | {"after": [self.links.choice(choice) for _ in range(more["after"])]}

    # --- what clients do ----------------------------------------------------------------------------------------------

    def lane(self, number: int, length: int) -> list[Step]:
        verbs, weights = list(self.verbs), list(self.verbs.values())
        steps: list[Step] = []
        for n in range(length):
            verb = self.chance.choices(verbs, weights)[0]
            make = getattr(self, f"make_{verb}", None)
            arguments = make(f"{number}-{n}") if make is not None else self.about_one()
            if arguments is not None:
                steps.append([verb, arguments])
        return self.with_later(steps, number)

    def with_later(self, steps: list[Step], number: int) -> list[Step]:
        """Steps of verbs that came later among these, and some of all at a plugin's door."""
        common, self.chance = self.chance, self.later
        try:
            verbs = {**self.strewn, **({"plug": 0.12} if self.namespaces else {})}
            for verb, share in verbs.items():
                for n in range(sum(self.later.random() < share for _ in steps)):
                    make = getattr(self, f"make_{verb}", None)
                    arguments = make(f"{number}-{verb}-{n}") if make is not None else self.about_one()
                    if arguments is not None:
                        steps.insert(self.later.randrange(len(steps) + 1), [verb, arguments])
            for verb, arguments in steps if self.namespaces else ():
                if verb in odds.DOORED and self.later.random() < odds.AT_A_PLUGINS_DOOR:
                    arguments["door"] = self.later.choice(PLUGINS)
        finally:
            self.chance = common
        return steps

    def about_one(self) -> dict[str, Any] | None:
        return {"label": self.chance.choice(self.labels)} if self.labels else None

    def make_submit(self, label: str) -> dict[str, Any]:
        handler = self.handler()
        script = self.script(handler)
        options = self.chosen(script)
        self.labels.append(label)
        step: dict[str, Any] = {"handler": handler, "script": script, "options": options, "label": label}
        if "id" in options and self.chance.random() < 0.7:
            step["again"] = True
        if self.chance.random() < 0.03:
            step["patience"] = self.chance.choice((0.0, 0.0005, 0.1))
        return step

    def make_submit_many(self, label: str) -> dict[str, Any]:
        items = []
        for n in range(self.chance.choice((0, 1, 3, 12))):
            handler = self.handler()
            script = self.script(handler)
            items.append([handler, script, self.chosen(script, n)])
            self.labels.append(f"{label}.{n}")
        return {"items": items, "label": label}

    def make_sleep(self, label: str) -> dict[str, Any]:
        return {"seconds": round(self.chance.expovariate(1.0) * self.pace, 6)}

    def timed(self) -> float:
        return round(self.pace * self.chance.choice((0.1, 3.0, 20.0)), 6)

    def make_wait(self, label: str) -> dict[str, Any] | None:
        return None if (about := self.about_one()) is None else {**about, "timeout": self.timed()}

    make_result = make_wait

    def make_cancel(self, label: str) -> dict[str, Any] | None:
        about = self.about_one()
        if about is not None and self.chance.random() < 0.2:
            about["running"] = False
        return about

    def name(self) -> str:
        return self.chance.choice((*self.names, *self.names, LATE, "nowhere") if "create_queue" in self.verbs else self.names)

    def make_clear(self, label: str) -> dict[str, Any]:
        return {"queue": self.name()}

    make_pause = make_resume = make_clear

    def make_configure(self, label: str) -> dict[str, Any]:
        policy = drawn(self.chance, odds.POLICY, 0.6)
        if "retry" in policy:  # code is not for operators to change
            policy["retry"].pop("on", None)
            if policy["retry"].get("backoff", [""])[0] == "called":
                del policy["retry"]["backoff"]
        return {"queue": self.name(), "policy": policy}

    def make_retry_all(self, label: str) -> dict[str, Any]:
        return {"queue": self.name(), "state": self.chance.choice(STATES)}

    def make_prune(self, label: str) -> dict[str, Any]:
        return {
            "older_than": self.chance.choice((0, 1, 100)),
            "queue": self.chance.choice((None, self.name())),
            "states": self.chance.choice((["succeeded", "cancelled"], ["succeeded", *STATES])),
        }

    def make_list(self, label: str) -> dict[str, Any]:
        return {**self.make_count(label), "limit": self.chance.choice((1, 5, 100))}

    def make_count(self, label: str) -> dict[str, Any]:
        chance = self.chance
        filters: dict[str, Any] = {
            "queue": self.name(),
            "state": chance.choice(("running", "pending", "scheduled", "retrying", "succeeded", *STATES)),
        }
        filters |= {"handler": self.handler(), "tag": "red", "owner": ["user", "7"], "source": "api"}
        return {name: value for name, value in filters.items() if chance.random() < 0.25}

    def make_reschedule(self, label: str) -> dict[str, Any] | None:
        when = self.chance.choice(({"delay": 0}, {"delay": 2.5}, {"delay": 300}, {"at": -50}, {"at": 40}))
        return None if (about := self.about_one()) is None else {**about, **when}

    def make_reprioritise(self, label: str) -> dict[str, Any] | None:
        return None if (about := self.about_one()) is None else {**about, "priority": self.chance.choice((-7, 0, 5, 30))}

    def make_cancel_all(self, label: str) -> dict[str, Any]:
        chance = self.chance
        return {**self.make_count(label), "running": chance.random() < 0.5, "dry_run": chance.random() < 0.5}

    def make_reschedule_all(self, label: str) -> dict[str, Any]:
        chance = self.chance
        return {**self.make_count(label), "delay": chance.choice((0, 1, 60)), "dry_run": chance.random() < 0.3}

    def make_reprioritise_all(self, label: str) -> dict[str, Any]:
        chance = self.chance
        return {**self.make_count(label), "priority": chance.choice((0, 5, 30)), "dry_run": chance.random() < 0.3}

    def make_stats(self, label: str) -> dict[str, Any]:
        return {}

    def make_drain(self, label: str) -> dict[str, Any]:
        return {"timeout": self.timed()}

    def make_create_queue(self, label: str) -> dict[str, Any]:
        handler = f"{LATE}.async"
        self.kinds.setdefault(handler, "async")
        return {"facts": {"name": LATE, "policy": self.policy(), "handlers": [{"name": handler, "kind": "async"}]}}

    def make_plug(self, label: str) -> dict[str, Any]:
        """A plugin is loaded: it creates a queue of a name that others have too, with handlers of names that others have too."""
        kinds, self.kinds = self.kinds, dict(self.kinds)  # which kind of code is behind a name is different at another door
        queue = self.queue(self.chance.choice(self.names))
        self.kinds = kinds
        return {"door": self.chance.choice(PLUGINS), "facts": queue}

    def make_deploy(self, label: str) -> dict[str, Any]:
        return {"to": self.chance.randrange(3), "how": self.chance.choice(("restart", "crash"))}

    def make_stop(self, label: str) -> dict[str, Any]:
        return {"grace": self.chance.choice((None, 0.0, 1.0))}

    def make_schedule(self, label: str) -> dict[str, Any]:
        handler = self.handler()
        when = drawn(self.chance, odds.SCHEDULE)
        when.pop("cron" if "every" in when else "every", None)
        return {"name": self.chance.choice(SCHEDULES), "handler": handler, "script": self.script(handler, depth=1), "when": when}

    def make_unschedule(self, label: str) -> dict[str, Any]:
        return {"name": self.chance.choice(SCHEDULES)}

    make_preview = make_unschedule

    def make_schedules(self, label: str) -> dict[str, Any]:
        return {}

    def make_crash(self, label: str) -> dict[str, Any]:
        return {"power": self.chance.random() < 0.3}

    def make_clock(self, label: str) -> dict[str, Any]:
        return {"seconds": self.chance.choice((-5000.0, -60.0, -0.5, 0.5, 60.0, 5000.0, 100_000.0))}

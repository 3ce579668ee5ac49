"""The scenarios: what happens, which goal has to be reached, and what was reached."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.fleet import server as api
from benchmarks.fleet.model import Call, Process, Redis, Simulation, Wire
from benchmarks.fleet.server import Charge, Headers, Server

MANY: Final = 1e10  # a limit that never binds
REQUESTS, INPUT, OUTPUT = 0, 1, 2

Event = tuple[float, Callable[["Run"], None]]


@dataclass(frozen=True)
class Goal:
    """What has to be reached; None is not looked at.

    Attributes:
        use: The least part of the limit that is used, others' part included.
        refused: The largest part of the calls that is refused with 429.
        jain: The least of Jain's index of fairness between the processes.
        p50: The largest median of the waits, in seconds.
        p99: The largest 99th percentile of the waits, in seconds.

    """

    use: float | None = 0.95
    refused: float | None = 0.001
    jain: float | None = 0.98
    p50: float | None = None
    p99: float | None = None


HARD: Final = Goal(use=0.75, refused=0.06)
"""For output that is charged at the end of calls, in a bucket of a second. Calls end at random, and
in the 3 seconds from start to end their random sizes and times add up to more than half the bucket:
whoever wants 95 % of the limit is refused now and then, and whoever wants no refusal uses less."""
HARMLESS: Final = Goal(use=None, refused=None, jain=None, p50=0.03)


@dataclass(frozen=True)
class Scenario:
    """What happens.

    Attributes:
        title: The scenario in words.
        binds: The bucket that binds: its use is measured.
        processes: The number of processes.
        tasks: The number of tasks in each; each task makes one call after the other.
        total: The number of calls in all. None: without end.
        rate: Calls per second that come by themselves, instead of tasks.
        burst: Calls that come besides, all at once, when the measurement begins.
        interactive: Calls per second besides the tasks that go first.
        limits: The limits per minute: requests, input tokens, output tokens.
        bucket: The size of the server's buckets, in seconds.
        charge: When the server charges the output.
        lag: The age of the headers, in seconds.
        headers: What a gateway makes of the headers.
        acceleration: Whether the server refuses too steep a rise.
        sizes: The mean input and output, and `max_tokens`.
        spread: The spread of sizes (sigma of a log-normal).
        large: The part of the calls that is much larger, and how much.
        foreign: Others' calls, undeclared, as a part of the limit.
        foreign_until: When others stop.
        shares: Whether the processes share a Redis; otherwise each has a state of its own.
        wire: The network.
        idle: How long nothing happens at first.
        ends: How long it lasts, in seconds.
        measured: From when until when it is measured.
        events: What happens besides.
        goal: What has to be reached.
        seed: The seed of all random numbers.

    """

    title: str
    binds: int = REQUESTS
    processes: int = 8
    tasks: int = 16
    total: int | None = None
    rate: float | None = None
    burst: int = 0
    interactive: float = 0.0
    limits: tuple[float, float, float] = (2400, MANY, MANY)
    bucket: float = 1.0
    charge: Charge = "arrival"
    lag: float = 0.0
    headers: Headers | None = None
    acceleration: bool = False
    sizes: tuple[float, float, int] = (108, 30, 1024)
    spread: float = 0.5
    large: tuple[float, float] = (0.0, 1.0)
    foreign: float = 0.0
    foreign_until: float = 1e9
    shares: bool = True
    wire: Wire = Wire()  # noqa: RUF009  # it is frozen
    idle: float = 0.0
    ends: float = 80.0
    measured: tuple[float, float] = (20.0, 80.0)
    events: tuple[Event, ...] = ()
    goal: Goal = Goal()
    seed: int = 1

    def small(self) -> "Scenario":
        """Give the same with 8 processes of 16 tasks instead of a hundred processes, for a test."""
        if self.processes <= 8:  # noqa: PLR2004
            return self
        factor = 8 * 16 / (self.processes * self.tasks)
        one, two, three = (limit if limit == MANY else limit * factor for limit in self.limits)
        return replace(
            self,
            processes=8,
            tasks=16,
            limits=(one, two, three),
        )


@dataclass
class Figures:
    """What was reached.

    Attributes:
        use: The part of the limit that was used.
        refused: The part of the calls that was refused with 429.
        refusals: Their number.
        calls: The calls that arrived.
        jain: Jain's index of fairness.
        waits: The waits in seconds from the wish to the arrival, sorted.
        first_waits: The same of calls that go first.
        unanswered: The calls that were never answered, of a limited number.

    """

    use: float
    refused: float
    refusals: int
    calls: int
    jain: float
    waits: list[float]
    first_waits: list[float]
    unanswered: int

    def wait(self, part: float) -> float:
        """Give a percentile of the waits."""
        waits = self.waits
        return waits[min(len(waits) - 1, int(part * len(waits)))] if waits else 0.0

    def missed(self, goal: Goal) -> list[str]:
        """Name what was not reached."""
        missed = []
        if goal.use is not None and self.use < goal.use:
            missed.append("use")
        if goal.refused is not None and self.refused > goal.refused:
            missed.append("429")
        if goal.jain is not None and self.jain < goal.jain:
            missed.append("Jain")
        if goal.p50 is not None and self.wait(0.5) > goal.p50:
            missed.append("p50")
        if goal.p99 is not None and self.wait(0.99) > goal.p99:
            missed.append("p99")
        if self.unanswered:
            missed.append("answers")
        return missed


class Run:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.simulation = Simulation(scenario.seed)
        self.server = Server(
            self.simulation.random,
            [*scenario.limits],
            scenario.bucket,
            scenario.charge,
            scenario.lag,
            scenario.headers,
            scenario.acceleration,
        )
        self.redis = Redis(self.simulation) if scenario.shares else None
        self.processes = [
            Process(
                self.simulation,
                self.server,
                scenario.wire,
                redis=self.redis,
                name=str(number),
                mixed=scenario.interactive > 0,
            )
            for number in range(scenario.processes)
        ]
        self.wanted = 0
        self.has_foreign = True

    def figures(self) -> Figures:
        """Let it happen, and measure."""
        scenario, simulation = self.scenario, self.simulation
        for process in self.processes:
            process.when_ended = self._go_on
            for _ in range(scenario.tasks if scenario.rate is None else 0):
                simulation.at(scenario.idle + simulation.random.random() * 0.5, self._want, process)
        if scenario.rate is not None:
            simulation.at(0.01, self._come, scenario.rate, True)  # noqa: FBT003
        if scenario.interactive:
            simulation.at(scenario.measured[0], self._come, scenario.interactive, False)  # noqa: FBT003
        for _ in range(scenario.burst):
            simulation.at(scenario.measured[0], self._want, self.processes[0])
        if scenario.foreign:
            limit = scenario.limits[scenario.binds] / 60
            each = limit * scenario.foreign / (1, *scenario.sizes)[scenario.binds]
            simulation.at(1.0, self._come_from_elsewhere, each)
        for moment, act in scenario.events:
            simulation.at(moment, act, self)
        simulation.run(scenario.ends)
        return self._measured()

    # Calls that come

    def _want(self, process: Process, *, is_background: bool = True) -> None:
        scenario, simulation = self.scenario, self.simulation
        if scenario.total is not None and self.wanted >= scenario.total:
            return
        self.wanted += 1
        part, factor = scenario.large
        larger = factor if part and simulation.random.random() < part else 1
        tokens_in, tokens_out, most = scenario.sizes
        process.put(
            Call(
                simulation.size(tokens_in * larger, scenario.spread),
                min(most, simulation.size(tokens_out, scenario.spread)),
                most,
                simulation.now,
                is_background,
            )
        )

    def _go_on(self, process: Process, call: Call) -> None:
        if self.scenario.rate is None and call.is_background:
            self._want(process)

    def _come(self, rate: float, is_background: bool) -> None:  # noqa: FBT001
        simulation = self.simulation
        self._want(simulation.random.choice(self.processes), is_background=is_background)
        simulation.after(simulation.random.expovariate(rate), self._come, rate, is_background)

    def _come_from_elsewhere(self, rate: float) -> None:
        scenario, simulation = self.scenario, self.simulation
        if simulation.now > scenario.foreign_until:
            return
        tokens_in, tokens_out, most = scenario.sizes
        size_in = simulation.size(tokens_in, 0.5)
        size_out = min(most, simulation.size(tokens_out, 0.5))
        head = self.server.arrive(simulation.now, size_in, size_out, most, foreign=True)
        if head.status == 200:  # noqa: PLR2004
            simulation.after(scenario.wire.latency, self._end_elsewhere, size_out, most)
        simulation.after(simulation.random.expovariate(rate), self._come_from_elsewhere, rate)

    def _end_elsewhere(self, size_out: int, most: int) -> None:
        self.server.end(self.simulation.now, size_out, most)

    # Figures

    def _measured(self) -> Figures:
        scenario, server = self.scenario, self.server
        begin, end = scenario.measured
        limit = server.limits[scenario.binds] / 60
        taken = sum(
            (1, tokens_in, tokens_out)[scenario.binds]
            for at, tokens_in, tokens_out in server.charged
            if begin <= at < end
        )
        calls = sum(begin <= at < end for at in server.arrivals)
        refusals = sum(begin <= at < end for at in server.refusals)
        done = [
            sum(
                (1, call.tokens_in, call.tokens_out)[scenario.binds]
                for call in process.ended
                if begin <= call.ended < end
            )
            for process in self.processes
            if not process.is_dead
        ]
        ended = [
            call
            for process in self.processes
            for call in process.ended
            if begin <= call.ended < end
        ]
        answered = sum(len(process.ended) for process in self.processes)
        return Figures(
            use=taken / (limit * (end - begin)),
            refused=refusals / max(1, calls),
            refusals=refusals,
            calls=calls,
            jain=sum(done) ** 2 / (len(done) * sum(n * n for n in done)) if any(done) else 0.0,
            waits=sorted(call.started - call.born - 0.02 for call in ended),
            first_waits=sorted(
                call.started - call.born - 0.02 for call in ended if not call.is_background
            ),
            unanswered=0 if scenario.total is None else self.wanted - answered,
        )


# What happens besides


def away(begin: float, end: float, *, hangs: bool = True, empty: bool = False) -> tuple[Event, ...]:
    """Let Redis be away."""

    def go(run: Run) -> None:
        assert run.redis is not None
        run.redis.go(hangs=hangs)

    def come_back(run: Run) -> None:
        assert run.redis is not None
        run.redis.come_back(empty=empty)

    return (begin, go), (end, come_back)


def kill_half(run: Run) -> None:
    """Kill half of the processes, with all they have booked."""
    for process in run.processes[: len(run.processes) // 2]:
        process.is_dead = True


def limit(requests: float) -> Callable[[Run], None]:
    """Change the limit of requests."""
    return lambda run: run.server.change([requests, MANY, MANY])


def overload(begin: float, end: float) -> Event:
    """Answer with 529 for a while."""

    def overload(run: Run) -> None:
        run.server.overloaded = begin, end

    return 0.1, overload


# The table


def _buckets() -> Iterable[tuple[str, Scenario]]:
    """Each bucket binds, in each of its sizes."""
    for bucket in (1, 10, 60):
        common = {
            "bucket": bucket,
            "ends": 60.0 + 2 * bucket,
            "measured": (10.0 + bucket, 60.0 + 2 * bucket),
        }
        base = replace(Scenario(""), **common)  # type: ignore[arg-type]
        size = f"buckets of {bucket} s"
        yield f"requests {bucket}", replace(base, title=f"requests bind, {size}")
        yield (
            f"input {bucket}",
            replace(
                base,
                title=f"input binds, {size}",
                binds=INPUT,
                limits=(MANY, 2_000_000, MANY),
                sizes=(2000, 30, 1024),
            ),
        )
        for charge in ("arrival", "end", "max"):
            yield (
                f"output {charge} {bucket}",
                replace(
                    base,
                    title=f"output binds (charged: {charge}), {size}",
                    binds=OUTPUT,
                    limits=(MANY, MANY, 400_000),
                    sizes=(108, 400, 1024),
                    charge=charge,  # type: ignore[arg-type]
                    wire=Wire(latency=3.0),
                    goal=_goal_of_output(charge, bucket),
                    # In a small bucket chance counts: a long time gives a steady figure.
                    ends=200.0 if bucket == 1 else base.ends,
                    measured=(30.0, 200.0) if bucket == 1 else base.measured,
                ),
            )


def _goal_of_output(charge: str, bucket: int) -> Goal:
    """Give the goal where output binds: in a bucket of a second its size is known too late."""
    if bucket > 1:
        return Goal()
    return Goal(refused=0.004) if charge == "arrival" else HARD


BASE: Final = Scenario("", ends=180.0, measured=(40.0, 180.0))
LONE: Final = Scenario(
    "", processes=1, shares=False, bucket=60.0, wire=Wire(latency=3.0), ends=130.0, seed=3
)
FLEET: Final = Scenario(
    "",
    processes=100,
    tasks=100,
    limits=(60_000, MANY, MANY),
    sizes=(3000, 400, 4096),
    wire=Wire(latency=5.0),
    bucket=10.0,
    ends=45.0,
    measured=(20.0, 45.0),
)
FOREIGN: Final = Goal(refused=0.005)
OUTAGE: Final = Goal(refused=0.005)


def _table() -> dict[str, Scenario]:
    table = dict(_buckets())
    for bucket in (1, 10, 60):
        table[f"foreign {bucket}"] = replace(
            BASE,
            title=f"20 % foreign traffic, buckets of {bucket} s",
            bucket=bucket,
            foreign=0.2,
            measured=(40.0 + bucket, 180.0),
            goal=FOREIGN,
        )
        table[f"much foreign {bucket}"] = replace(
            BASE,
            title=f"50 % foreign traffic, buckets of {bucket} s",
            bucket=bucket,
            foreign=0.5,
            measured=(40.0 + bucket, 180.0),
            goal=Goal(use=0.9, refused=0.03),
        )
    table |= {
        "foreign input": replace(
            BASE,
            title="20 % foreign traffic, input binds",
            binds=INPUT,
            limits=(MANY, 2_000_000, MANY),
            sizes=(2000, 30, 1024),
            bucket=10,
            foreign=0.2,
            goal=FOREIGN,
        ),
        "foreign output": replace(
            BASE,
            title="20 % foreign traffic, output binds (charged: end)",
            binds=OUTPUT,
            limits=(MANY, MANY, 400_000),
            sizes=(108, 400, 1024),
            charge="end",
            bucket=10,
            wire=Wire(latency=3.0),
            foreign=0.2,
            goal=FOREIGN,
        ),
        "foreign stops": replace(
            BASE,
            title="20 % foreign traffic that stops at 90 s; after it",
            foreign=0.2,
            foreign_until=90.0,
            measured=(90.0, 180.0),
            goal=Goal(use=0.9),
        ),
        "gather 1": replace(
            LONE,
            title="one process, 2,000 calls at once, bucket of 1 s",
            tasks=2000,
            total=2000,
            bucket=1,
            wire=Wire(),
            ends=70.0,
            measured=(1.0, 48.0),
        ),
        "gather 60": replace(
            LONE,
            title="one process, 2,000 calls at once, bucket of 60 s",
            tasks=2000,
            total=2000,
            wire=Wire(),
            ends=60.0,
            measured=(0.0, 10.0),
            goal=Goal(use=None),
        ),
        "gather 150": replace(
            LONE,
            title="300 calls at once, 150 per minute",
            tasks=300,
            total=300,
            limits=(150, MANY, MANY),
            bucket=1,
            wire=Wire(),
            ends=140.0,
            measured=(1.0, 115.0),
            goal=Goal(use=0.95, refused=0.01),
        ),
        "one state per family": replace(BASE, title="8 processes, one state, 180 s"),
        "no redis 10": replace(
            BASE,
            title="8 processes without Redis, buckets of 10 s",
            bucket=10,
            shares=False,
            goal=Goal(use=None, refused=None, jain=None),
        ),
        "lag 1": replace(Scenario("headers 2 s old, buckets of 1 s"), lag=2.0),
        "lag 60": replace(
            BASE, title="headers 2 s old, buckets of 60 s", lag=2.0, bucket=60, measured=(70, 180)
        ),
        "lag foreign": replace(
            BASE,
            title="headers 2 s old, 20 % foreign traffic, buckets of 10 s",
            lag=2.0,
            bucket=10,
            foreign=0.2,
            goal=FOREIGN,
        ),
        "jitter": Scenario("the network delays by 0 to 300 ms", wire=Wire(jitter=0.3)),
        "slow": Scenario(
            "answers take 6 s", tasks=64, wire=Wire(latency=6.0), ends=100, measured=(40, 100)
        ),
        "cut 1": replace(
            BASE,
            title="limit cut to a tenth, buckets of 1 s; after it",
            events=((60.0, limit(240)),),
            measured=(63.0, 180.0),
            goal=Goal(refused=0.02),
        ),
        "cut 10": replace(
            BASE,
            title="limit cut to a tenth, buckets of 10 s; after it",
            bucket=10,
            events=((60.0, limit(240)),),
            measured=(63.0, 180.0),
        ),
        "raise": replace(
            BASE,
            title="limit raised to ten times, buckets of 10 s; after it",
            bucket=10,
            limits=(240, MANY, MANY),
            events=((60.0, limit(2400)),),
            ends=120.0,
            measured=(66.0, 120.0),
        ),
        "killed": Scenario(
            "half of the processes killed at 30 s; after it",
            tasks=32,
            events=((30.0, kill_half),),
            ends=90,
            measured=(31, 90),
        ),
        "overload": Scenario(
            "529 for 20 s; after it",
            events=(overload(40.0, 60.0),),
            ends=120.0,
            measured=(62.0, 120.0),
        ),
        "streams": Scenario(
            "streams: limits with the head, usage at the end; output binds (charged: end)",
            binds=OUTPUT,
            limits=(MANY, MANY, 400_000),
            sizes=(108, 400, 1024),
            charge="end",
            bucket=10,
            wire=Wire(latency=3.0, streams=True),
            ends=90.0,
            measured=(25.0, 90.0),
        ),
        "acceleration": Scenario(
            "a limit on acceleration, after 60 s of idleness; 2 minutes later",
            acceleration=True,
            tasks=64,
            bucket=60,
            idle=60.0,
            ends=240.0,
            measured=(180.0, 240.0),
            goal=Goal(use=None, refused=0.01),
        ),
        "interactive 1": Scenario(
            "background, and 4 interactive calls per second", interactive=4.0, ends=90.0
        ),
        "interactive 10": Scenario(
            "the same, buckets of 10 s",
            interactive=4.0,
            bucket=10,
            ends=90.0,
            measured=(30.0, 90.0),
        ),
        "large": replace(
            BASE,
            title="5 % of the prompts fifty times as large, input binds, buckets of 10 s",
            binds=INPUT,
            limits=(MANY, 2_000_000, MANY),
            sizes=(1000, 30, 1024),
            large=(0.05, 50),
            bucket=10,
            goal=Goal(use=0.9, jain=0.8),
        ),
        "redis hangs 1": Scenario(
            "Redis hangs for 8 s, buckets of 1 s",
            events=away(30, 38),
            ends=90.0,
            measured=(30.0, 90.0),
            goal=OUTAGE,
        ),
        "redis hangs 60": replace(
            BASE,
            title="Redis hangs for 8 s, buckets of 60 s",
            bucket=60,
            events=away(100, 108),
            measured=(100, 180),
            goal=OUTAGE,
        ),
        "redis hangs long": Scenario(
            "Redis hangs for a minute",
            events=away(30, 90),
            ends=150.0,
            measured=(30.0, 150.0),
            goal=Goal(use=0.9, refused=0.005),
        ),
        "redis restarts": Scenario(
            "Redis refuses for 3 s and is back empty",
            events=away(30, 33, hangs=False, empty=True),
            ends=90.0,
            measured=(30.0, 90.0),
            goal=OUTAGE,
        ),
        "redis hangs, 100": replace(
            FLEET,
            title="100 x 20: Redis hangs for 8 s",
            tasks=20,
            limits=(12_000, MANY, MANY),
            sizes=(108, 30, 1024),
            wire=Wire(latency=3.0),
            bucket=1,
            events=away(30, 38),
            ends=90.0,
            measured=(30.0, 90.0),
            goal=Goal(use=0.9, refused=0.005),
        ),
        "redis restarts, 100": replace(
            FLEET,
            title="100 x 20: Redis refuses for 3 s and is back empty",
            tasks=20,
            limits=(12_000, MANY, MANY),
            sizes=(108, 30, 1024),
            wire=Wire(latency=3.0),
            events=away(30, 33, hangs=False, empty=True),
            ends=90.0,
            measured=(30.0, 90.0),
            goal=OUTAGE,
        ),
        "fleet 1": replace(FLEET, title="100 x 100, requests bind, buckets of 1 s", bucket=1),
        "fleet 10": replace(FLEET, title="100 x 100, requests bind, buckets of 10 s"),
        "fleet 60": replace(
            FLEET,
            title="100 x 100, requests bind, buckets of 60 s",
            bucket=60,
            measured=(25.0, 45.0),
        ),
        "fleet input": replace(
            FLEET,
            title="100 x 100, input binds, buckets of 10 s",
            binds=INPUT,
            limits=(MANY, 180_000_000, MANY),
        ),
        "fleet output": replace(
            FLEET,
            title="100 x 100, output binds (charged: end), buckets of 10 s",
            binds=OUTPUT,
            limits=(MANY, MANY, 24_000_000),
            charge="end",
        ),
    }
    return table | _harmless()


def _harmless() -> dict[str, Scenario]:
    """One process with a state of its own, below its limit: a governor must not be felt."""
    lone = replace(LONE, goal=HARMLESS, measured=(5.0, 130.0))
    return {
        "web 25 %": replace(lone, title="web traffic, a quarter of the limit", rate=10.0),
        "web 50 %": replace(
            lone, title="web traffic, half of the limit, bucket of 1 s", rate=20.0, bucket=1.0
        ),
        "web 85 %, 1": replace(
            lone,
            title="web traffic, 85 % of the limit, bucket of 1 s",
            rate=34.0,
            measured=(40.0, 130.0),
            bucket=1.0,
            goal=replace(HARMLESS, p99=0.1, refused=0.001),
        ),
        "web 85 %, 60": replace(
            lone,
            title="web traffic, 85 % of the limit, bucket of 60 s",
            rate=34.0,
            measured=(40.0, 130.0),
            goal=replace(HARMLESS, p99=0.1, refused=0.001),
        ),
        "new process": replace(
            lone,
            title="a new process, half of the limit from the first moment",
            rate=20.0,
            measured=(0.0, 10.0),
            ends=15.0,
            goal=replace(HARMLESS, p50=0.1, p99=1.0),
        ),
        "burst 300": replace(
            lone,
            title="5 per second, and 300 at once; bucket of 60 s",
            rate=5.0,
            burst=300,
            measured=(60.0, 70.0),
            goal=replace(HARMLESS, refused=0.001),
        ),
        "no headers": replace(lone, title="gateway: no headers", rate=20.0, headers=api.no_headers),
        "no headers, refusals": replace(
            lone,
            title="gateway: no headers, half more calls than its limit for a minute",
            rate=None,
            tasks=180,
            headers=api.no_headers,
            bucket=1.0,
            total=3000,
            ends=600.0,
            measured=(5.0, 60.0),
            goal=replace(HARMLESS, p50=None),
        ),
        "limit 0": replace(
            lone, title="gateway: the limit is 0", rate=20.0, headers=api.zero_limits
        ),
        "remaining 0": replace(
            lone, title="gateway: remaining is 0", rate=10.0, headers=api.zero_remaining
        ),
        "remaining 0, 85 %": replace(
            lone,
            title="gateway: remaining is 0; 85 % of the limit",
            rate=34.0,
            headers=api.zero_remaining,
            goal=replace(HARMLESS, p50=0.1),
        ),
        "remaining all": replace(
            lone,
            title="gateway: remaining is the limit; 85 % of it, bucket of 1 s",
            rate=34.0,
            headers=api.all_remaining,
            bucket=1.0,
        ),
        "remaining random": replace(
            lone,
            title="gateway: remaining is random; 85 % of the limit",
            rate=34.0,
            headers=api.random_remaining,
        ),
        "pool": replace(
            lone,
            title="gateway: a pool of ten keys, headers of one; after 15 s",
            rate=20.0,
            headers=api.one_of_ten_keys,
            measured=(20.0, 130.0),
        ),
    }


SCENARIOS: Final = _table()

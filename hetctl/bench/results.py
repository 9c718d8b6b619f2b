"""What a benchmark measured, and under which circumstances: ``results.json``.

Configurations (ways to serve the model) x points (loads, from light to heavy) x repeats, and
for each of these one :class:`Run` or :class:`FailedRun` with files of its own. A renderer of
one point works on :meth:`Results.at`.
"""

from typing import ClassVar, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from hetctl.bench.point import point_name
from hetctl.bench.results_steps import RESULTS_STEPS
from hetctl.bench.telemetry.digest import TelemetryDigest
from hetctl.document import Document, Frozen
from hetctl.launch.command import LaunchCommand
from hetctl.machine import Machine
from hetctl.migration import Steps
from hetctl.model.spec import ModelSpec
from hetctl.plan import Plan


class Slo(Frozen):
    """Service-level objective: what a request must keep to count for goodput."""

    ttft_s: PositiveFloat | None = None
    """Longest time to the first token."""
    tpot_s: PositiveFloat | None = None
    """Longest time per output token."""
    e2el_s: PositiveFloat | None = None
    """Longest time of a whole request."""

    @property
    def limits_s(self) -> dict[str, float]:
        """The limits that are set, in seconds, by vLLM's name of the latency."""
        limits = {"ttft": self.ttft_s, "tpot": self.tpot_s, "e2el": self.e2el_s}
        return {name: limit for name, limit in limits.items() if limit is not None}


class Load(Frozen):
    """The requests that every configuration is sent at one point, drawn from one seed."""

    workload: str = "random"
    """Which of :mod:`hetctl.bench.workloads` the requests are of."""
    dataset: Literal["random", "prefix_repetition", "custom"] = "random"
    """Of ``vllm bench serve``; ``custom`` is a file of requests that hetctl makes."""
    input_len: PositiveInt = 512
    """Tokens of each prompt; where lengths vary, their mean."""
    output_len: PositiveInt = 128
    """Tokens that each request must generate (the end-of-sequence token is ignored); where
    lengths vary, their mean."""
    prefix_len: NonNegativeInt = 0
    """Of ``input_len``, the first tokens that requests have in common."""
    num_prefixes: PositiveInt = 1
    """How many different such prefixes there are."""
    num_prompts: PositiveInt = 32
    """Requests in all."""
    max_concurrency: PositiveInt | None = 8
    """Most requests at a time; None sends each when it is due, whatever is under way."""
    request_rate: PositiveFloat | None = None
    """Requests per second; None sends as fast as the concurrency allows (a closed loop)."""
    burstiness: PositiveFloat = 1.0
    """Shape of the gamma distribution of the gaps between requests: 1 is a Poisson process,
    less is burstier. Without effect in a closed loop."""
    seed: NonNegativeInt = 0
    """Of the requests' random choices."""
    num_warmups: NonNegativeInt = 2
    """Requests before the clock starts; they repeat the first prompt."""
    slo: Slo = Slo()
    """What a request must keep to count as goodput."""

    @property
    def point(self) -> str:
        """Unique among the points of a sweep, and part of file names."""
        return point_name(self.request_rate, self.max_concurrency)


class Versions(Frozen):
    """Software that the figures depend on; empty when it is not installed."""

    hetctl: str
    vllm: str = ""
    torch: str = ""
    python: str = ""
    driver: str = ""


class Environment(Frozen):
    """Where, when and with what the benchmark ran."""

    machine: Machine
    """As it was probed then."""
    versions: Versions
    git_commit: str | None = None
    """Commit of the folder that hetctl was started in, with ``-dirty`` appended if changed."""
    argv: tuple[str, ...] = ()
    """The command line."""
    started: AwareDatetime
    """When the benchmark began."""


class Outside(Frozen):
    """An engine that hetctl did not start."""

    engine: str
    """What it calls itself."""
    model_name: str
    """Name under which it offers the model."""
    url: str | None = None
    """Where it answered; None where its own result file was imported."""
    file: str | None = None
    """The imported file, as given."""


class Configuration(Frozen):
    """One way to serve the model: a plan that hetctl starts, or an engine from outside."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+._-]*$")
    """Short and unique; it is also part of file names."""
    title: str
    """For people."""
    role: Literal["plan", "baseline"]
    """``plan`` is under test, ``baseline`` is what it is compared with."""
    why: str
    """One sentence: why it is in the comparison."""
    plan: Plan | None = None
    """None for a configuration that hetctl does not plan."""
    command: LaunchCommand | None = None
    """None for an engine from outside."""
    outside: Outside | None = None
    """None for a server that hetctl starts."""

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Self:
        if (self.command is None) == (self.outside is None):
            raise ValueError("a configuration has a command or is from outside")
        return self

    @property
    def model_name(self) -> str:
        """Name under which requests ask for the model."""
        one = self.command or self.outside
        assert one is not None
        return one.model_name


class Distribution(Frozen):
    """A latency over all requests (ITL: over all gaps between tokens) of one run."""

    mean_s: NonNegativeFloat
    """Arithmetic mean."""
    p50_s: NonNegativeFloat
    """Median."""
    p90_s: NonNegativeFloat
    p95_s: NonNegativeFloat
    p99_s: NonNegativeFloat


class Measurement(Frozen):
    """What the load generator saw in one run."""

    duration_s: PositiveFloat
    """From the first request to the last answer."""
    completed: PositiveInt
    """Requests that were answered."""
    failed: NonNegativeInt
    """Requests that were not."""
    input_tokens: NonNegativeInt
    """Of the completed requests, as the server counted them."""
    output_tokens: NonNegativeInt
    """Of the completed requests."""
    request_throughput: PositiveFloat
    """Completed requests per second."""
    request_goodput: NonNegativeFloat | None = None
    """Completed requests per second that kept the load's SLO; None where it has none."""
    output_throughput: NonNegativeFloat
    """Generated tokens per second."""
    total_token_throughput: NonNegativeFloat
    """Prompt and generated tokens per second."""
    ttft: Distribution
    """Time to first token."""
    tpot: Distribution
    """Time per output token after the first, per request."""
    itl: Distribution
    """Gap between one token of a request and the next."""
    e2el: Distribution
    """End-to-end latency."""
    errors: tuple[str, ...] = ()
    """Different errors of the failed requests (the first few)."""


class Run(Frozen):
    """One load on one server. Files are relative to ``results.json``."""

    configuration: str
    """By its name."""
    repeat: PositiveInt
    """Which start of the server: all points of a repeat share one."""
    point: str
    """Which load: its :attr:`Load.point`."""
    started: AwareDatetime
    """When the load began."""
    server_start_s: NonNegativeFloat
    """From starting the process until it answered; 0 for an engine from outside."""
    measurement: Measurement
    """What it gave."""
    server_log: str | None
    """None for an engine from outside."""
    load_log: str | None
    """None for an imported result."""
    raw_result: str
    """What ``vllm bench serve`` wrote, with every request; or the imported file."""
    telemetry: str | None = None
    """What was sampled beside the load, if anything was."""
    telemetry_digest: TelemetryDigest | None = None
    """Its means and extremes over the load, and whether they leave doubts."""
    client_cpus: tuple[NonNegativeInt, ...] = ()
    """What the load generator and the API server were bound to, away from the CPU ranks; empty
    where they were not bound."""


FailedPhase = Literal["server", "load"]


class FailedRun(Frozen):
    """A run that gave no figures. It was not tried again, nor were its later repeats."""

    configuration: str
    """By its name."""
    repeat: PositiveInt
    point: str | None
    """None when no server came up, so that no point could run."""
    phase: FailedPhase
    """Whether the server did not come up, or the load failed."""
    reason: str
    """One sentence."""
    log: str
    """Of the server or of the load, whichever tells more."""
    raw_result: str | None = None
    """What ``vllm bench serve`` wrote in spite of it."""
    telemetry: str | None = None


class Skipped(Frozen):
    """A baseline that cannot run here."""

    name: str
    """Of the baseline."""
    title: str
    reason: str
    """Why it cannot run here."""


class Joined(Frozen):
    """A folder that ``hetctl report`` joined with others."""

    folder: str
    git_commit: str | None
    hetctl_version: str = ""
    """That measured; empty where it was not kept."""
    started: AwareDatetime
    argv: tuple[str, ...]
    configurations: tuple[str, ...]
    """Under the names that they have now."""


class Results(Document):
    """Everything that the reports are made from."""

    KIND: ClassVar[str] = "hetctl.results"
    VERSION: ClassVar[int] = 3
    STEPS: ClassVar[Steps] = RESULTS_STEPS

    model: str
    """Folder or hub id."""
    spec: ModelSpec | None = None
    """What the model weighs, to say how much memory a token reads."""
    environment: Environment
    loads: tuple[Load, ...] = Field(min_length=1)
    """The points, in the order they run: one, or a sweep."""
    repeats: PositiveInt
    """Asked for; after an interruption there may be fewer."""
    stop_when_flat: bool = False
    """Whether a configuration was spared the points behind its saturation
    (:mod:`hetctl.bench.saturation`)."""
    configurations: tuple[Configuration, ...]
    """What is compared, the plan under test first."""
    runs: tuple[Run, ...] = ()
    """Those that gave figures, in the order they ran."""
    failed: tuple[FailedRun, ...] = ()
    """Those that gave none."""
    skipped: tuple[Skipped, ...] = ()
    """Baselines that cannot run here."""
    duration_s: NonNegativeFloat = 0.0
    """Of the whole benchmark."""
    interrupted: bool = False
    """Whether somebody stopped it."""
    joined: tuple[Joined, ...] = ()
    """Where the parts come from, of results that were put together later."""
    caveats: tuple[str, ...] = ()
    """How the parts differ: reasons to doubt what is shown side by side, as clauses."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("points", [load.point for load in self.loads]),
            ("configurations", [one.name for one in self.configurations]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"two {what} have the same name among {', '.join(names)}")
        return self

    @property
    def offered_load(self) -> Load:
        """The load of results with one point; of a sweep, look at each point with :meth:`at`.

        Raises:
            ValueError: there are several points.
        """
        (load,) = self.loads
        return load

    def configuration(self, name: str) -> Configuration:
        """The configuration called ``name``.

        Raises:
            KeyError: there is none.
        """
        for configuration in self.configurations:
            if configuration.name == name:
                return configuration
        raise KeyError(name)

    def load_at(self, point: str) -> Load:
        """The load of a point.

        Raises:
            KeyError: there is no such point.
        """
        for load in self.loads:
            if load.point == point:
                return load
        raise KeyError(point)

    def at(self, point: str) -> "Results":
        """The same results with one point only.

        Raises:
            KeyError: there is no such point.
        """
        return self.model_copy(
            update={
                "loads": (self.load_at(point),),
                "runs": tuple(run for run in self.runs if run.point == point),
                "failed": tuple(one for one in self.failed if one.point in (point, None)),
            }
        )

    def runs_of(self, name: str, point: str | None = None) -> tuple[Run, ...]:
        """The runs of one configuration, at one point or all, in the order they ran."""
        return tuple(
            run for run in self.runs if run.configuration == name and point in (run.point, None)
        )

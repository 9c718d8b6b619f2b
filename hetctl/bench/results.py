"""What a benchmark measured, and under which circumstances: ``results.json``."""

from typing import ClassVar, Literal

from pydantic import (
    AwareDatetime,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from hetctl.document import Document, Frozen
from hetctl.launch.command import LaunchCommand
from hetctl.machine import Machine
from hetctl.plan import Plan


class Load(Frozen):
    """The requests that every configuration is sent, drawn from one seed."""

    dataset: Literal["random"] = "random"
    input_len: PositiveInt = 512
    """Tokens of each prompt."""
    output_len: PositiveInt = 128
    """Tokens that each request must generate; the end-of-sequence token is ignored."""
    num_prompts: PositiveInt = 32
    max_concurrency: PositiveInt = 8
    request_rate: PositiveFloat | None = None
    """Requests per second (Poisson); None sends as fast as the concurrency allows."""
    seed: NonNegativeInt = 0
    num_warmups: NonNegativeInt = 2
    """Requests before the clock starts; they repeat the first prompt."""


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
    versions: Versions
    git_commit: str | None = None
    """Commit of the folder that hetctl was started in, with ``-dirty`` appended if changed."""
    argv: tuple[str, ...] = ()
    started: AwareDatetime


class Configuration(Frozen):
    """One way to serve the model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+._-]*$")
    """Short and unique; it is also part of file names."""
    title: str
    role: Literal["plan", "baseline"]
    why: str
    """One sentence: why it is in the comparison."""
    plan: Plan | None = None
    """None for a configuration that hetctl does not plan."""
    command: LaunchCommand


class Distribution(Frozen):
    """A latency over all requests (ITL: over all gaps between tokens) of one run."""

    mean_s: NonNegativeFloat
    p50_s: NonNegativeFloat
    p90_s: NonNegativeFloat
    p95_s: NonNegativeFloat
    p99_s: NonNegativeFloat


class Measurement(Frozen):
    """What the load generator saw in one run."""

    duration_s: PositiveFloat
    completed: PositiveInt
    failed: NonNegativeInt
    input_tokens: NonNegativeInt
    """Of the completed requests, as the server counted them."""
    output_tokens: NonNegativeInt
    request_throughput: PositiveFloat
    """Completed requests per second."""
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
    """One load on one freshly started server. Files are relative to ``results.json``."""

    configuration: str
    repeat: PositiveInt
    started: AwareDatetime
    server_start_s: NonNegativeFloat
    """From starting the process until it answered."""
    measurement: Measurement
    server_log: str
    load_log: str
    raw_result: str
    """What ``vllm bench serve`` wrote, with every request."""


class FailedRun(Frozen):
    """A run that gave no figures. The configuration was not tried again."""

    configuration: str
    repeat: PositiveInt
    phase: Literal["server", "load"]
    reason: str
    log: str


class Skipped(Frozen):
    """A baseline that cannot run here."""

    name: str
    title: str
    reason: str


class Results(Document):
    """Everything that the reports are made from."""

    KIND: ClassVar[str] = "hetctl.results"
    VERSION: ClassVar[int] = 3  # the plans in it are of version 3

    model: str
    environment: Environment
    offered_load: Load
    repeats: PositiveInt
    """Asked for; after an interruption there may be fewer."""
    configurations: tuple[Configuration, ...]
    runs: tuple[Run, ...] = ()
    failed: tuple[FailedRun, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    duration_s: NonNegativeFloat = 0.0
    interrupted: bool = False

    def configuration(self, name: str) -> Configuration:
        """The configuration called ``name``.

        Raises:
            KeyError: there is none.
        """
        for configuration in self.configurations:
            if configuration.name == name:
                return configuration
        raise KeyError(name)

    @property
    def to_come(self) -> tuple[tuple[int, Configuration], ...]:
        """Repeat and configuration of the runs that are asked for and not there, in turn."""
        there = {(run.repeat, run.configuration) for run in self.runs}
        return tuple(
            (repeat, configuration)
            for repeat in range(1, self.repeats + 1)
            for configuration in self.configurations
            if (repeat, configuration.name) not in there
        )

    def runs_of(self, name: str) -> tuple[Run, ...]:
        """The runs of one configuration, in the order they ran."""
        return tuple(run for run in self.runs if run.configuration == name)

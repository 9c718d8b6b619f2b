"""One look at a running server: the document that ``hetctl top --json`` prints."""

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from hetctl.document import Document, Frozen

Share = Annotated[float, Field(ge=0, le=1)]


class ServerFrame(Frozen):
    """The server as a whole, as vLLM tells it. What the interval showed nothing of is None."""

    url: str
    model: str
    strategy: str | None = None
    """Of the plan, where hetctl started the server."""
    uptime_s: NonNegativeFloat | None = None
    requests_running: NonNegativeInt = 0
    requests_waiting: NonNegativeInt = 0
    kv_cache_used: Share = 0.0
    prompt_tokens_per_s: NonNegativeFloat | None = None
    output_tokens_per_s: NonNegativeFloat | None = None
    ttft_mean_s: NonNegativeFloat | None = None
    """Of the requests whose first token came in the interval."""
    tpot_mean_s: NonNegativeFloat | None = None
    """From one token of a request to its next, over all that came in the interval."""


class TimeShares(Frozen):
    """Where a rank's time in the interval went; what is left up to 1 is idle time."""

    layers: Share = 0.0
    head: Share = 0.0
    """Logits and sampling."""
    receiving: Share = 0.0
    """Waiting for activations of the stage before it, and taking them over."""
    sending: Share = 0.0
    other: Share = 0.0
    """Of its steps: preparing them and, on a GPU rank, what its host waits for the GPU."""

    unfinished: Share = 0.0
    """Of a step that is still running, without what it waits to receive."""

    @property
    def works(self) -> float:
        return self.layers + self.head + self.other + self.unfinished

    @property
    def hops(self) -> float:
        return self.receiving + self.sending

    @property
    def idle(self) -> float:
        return max(0.0, 1 - self.works - self.hops)


class RankFrame(Frozen):
    """One rank. What it does not tell, or what the interval showed nothing of, is None."""

    rank: NonNegativeInt
    device: str
    numa_node: NonNegativeInt | None = None
    cpus: str = ""
    """As the kernel writes them: ``0-3,8``."""
    layers: str = ""
    """First and last: ``0-15``."""
    load: Share | None = None
    """How busy its CPUs are, or its GPU."""
    steps_per_s: NonNegativeFloat | None = None
    tokens_per_step: NonNegativeFloat | None = None
    step_running_s: NonNegativeFloat | None = None
    """For how long it is in the call of a step that is not over; 0 between calls."""
    layers_s: NonNegativeFloat | None = None
    """What a step took in its layers, on average."""
    head_s: NonNegativeFloat | None = None
    """The same of logits and sampling."""
    time: TimeShares | None = None
    weight_read_bytes_per_s: NonNegativeFloat | None = None
    """At which the layers read their weights."""
    memory_read_share: NonNegativeFloat | None = None
    """That rate over what the node's memory was measured to give."""
    weight_bytes: NonNegativeInt | None = None
    kv_cache_bytes: NonNegativeInt | None = None
    memory_bytes: NonNegativeInt | None = None
    """Of a CPU rank, its process's resident memory; of a GPU rank, what is used of the GPU by
    all processes."""
    memory_limit_bytes: NonNegativeInt | None = None
    """Of the plan, else what there is on the GPU."""


class Frame(Document):
    """A running server at one moment, with rates since the moment before."""

    KIND: ClassVar[str] = "hetctl.server_frame"

    taken: AwareDatetime
    interval_s: PositiveFloat | None = None
    """Which the rates are of; None at the first look, and after the server started anew."""
    server: ServerFrame
    ranks: tuple[RankFrame, ...] = ()
    where_time_goes: str = ""
    """One sentence; empty where nothing can be said."""
    notes: tuple[str, ...] = ()

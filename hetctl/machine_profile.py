"""What was measured on a machine: rates that replace those of datasheets.

One JSON document per machine, named by its fingerprint and kept in the user's cache
(:mod:`hetctl.profiles.measured` reads it). Calibration writes it; a person may edit it. Each
figure has its spread, so that a reader can tell a difference from noise.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from hetctl.bounds import RatedPart
from hetctl.document import (
    Document,
    Frozen,
    Quantity,
    Reading,
    at_rows,
    for_bytes,
    require_table,
)


class Measured(Quantity):
    """The median of repeated measurements, and how far they lie apart."""

    median: PositiveFloat
    """In the unit of the field's name."""
    low: PositiveFloat
    """The lowest."""
    high: PositiveFloat
    """The highest."""
    samples: PositiveInt
    """How many, without warm-ups."""
    command: str = ""
    """What was run, where one figure was not measured like the others."""

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if not self.low <= self.median <= self.high:
            raise ValueError(
                f"the median {self.median:g} is not between {self.low:g} and {self.high:g}"
            )
        return self

    def each(self) -> Iterator[Reading]:
        yield self.reading("")

    def reading(self, where: str) -> Reading:
        """As an entry of a table."""
        return Reading(where, self.median, self.low, self.high)

    @property
    def spread(self) -> float:
        """From the lowest to the highest, as a share of the median."""
        return (self.high - self.low) / self.median


class MeasuredByRows(Quantity):
    """A rate at rising numbers of rows (tokens of the batch)."""

    rows: tuple[PositiveInt, ...] = Field(min_length=1)
    """Rising."""
    values: tuple[Measured, ...]
    """One per entry of ``rows``."""

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        require_table(self.rows, self.values)
        return self

    def each(self) -> Iterator[Reading]:
        for rows, figure in zip(self.rows, self.values, strict=True):
            yield figure.reading(at_rows(rows))


class MeasuredByBytes(Quantity):
    """A time at rising sizes."""

    sizes_bytes: tuple[PositiveInt, ...] = Field(min_length=1)
    """Rising."""
    values: tuple[Measured, ...]
    """One per entry of ``sizes_bytes``."""

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        require_table(self.sizes_bytes, self.values, "sizes")
        return self

    def each(self) -> Iterator[Reading]:
        for size, figure in zip(self.sizes_bytes, self.values, strict=True):
            yield figure.reading(for_bytes(size))


class NodeProfile(RatedPart):
    """What one NUMA node's cores did, as a CPU rank."""

    PART = "node"

    numa_node: NonNegativeInt
    """The kernel's number."""
    threads: PositiveInt
    """Cores that worked: those that a rank on this node gets."""
    memory_read_bytes_per_s: Measured | None = None
    """The node's own memory, read by all of its cores."""
    memory_read_bytes_per_s_by_node: dict[NonNegativeInt, Measured] = Field(default_factory=dict)
    """Memory that lies on another node, by that node."""
    memory_read_while_copying_bytes_per_s: Measured | None = None
    """While a GPU's copy engine reads and writes pinned memory."""
    matmul_bf16_flops: Measured | None = None
    """Operations per second of a large matrix product."""
    matmul_fp16_flops: Measured | None = None
    matmul_fp32_flops: Measured | None = None
    weight_read_bytes_per_s_by_rows: MeasuredByRows | None = None
    """Weights that the runtime's bf16 GEMM reads; its best kernel at each number of rows."""
    weight_read_fp16_bytes_per_s_by_rows: MeasuredByRows | None = None
    """The same in float16."""
    weight_read_fp32_bytes_per_s_by_rows: MeasuredByRows | None = None
    """The same in float32."""
    attention_read_bytes_per_s: Measured | None = None
    """KV cache that decode attention reads."""
    attention_read_bytes_per_s_by_sequences: MeasuredByRows | None = None
    """Rows are sequences that decode together."""
    layer_overhead_s: Measured | None = None
    """Kernel calls and norms of one layer, whatever its size."""
    hop_latency_s: Measured | None = None
    """Of a pipeline hand-over to a GPU, the CPU's side."""
    hop_bytes_per_s: Measured | None = None
    hop_peer: Literal["gpu", "cpu"] | None = None
    """What the two figures below were measured with."""
    hop_s_by_bytes: MeasuredByBytes | None = None
    """A whole hand-over: from tensors complete on one rank to tensors usable on the other."""
    all_reduce_s_by_bytes: MeasuredByBytes | None = None
    """Over this node and the other rank."""


class GpuProfile(RatedPart):
    """What one GPU did."""

    PART = "gpu"

    index: NonNegativeInt
    """N of ``cuda:N``."""
    memory_read_bytes_per_s: Measured | None = None
    """The GPU's own memory."""
    matmul_bf16_flops: Measured | None = None
    """Operations per second of a large matrix product."""
    matmul_fp16_flops: Measured | None = None
    matmul_fp32_flops: Measured | None = None
    host_to_device_bytes_per_s: Measured | None = None
    """Of the largest copy from pinned memory."""
    device_to_host_bytes_per_s: Measured | None = None
    """The other way."""
    host_to_device_s_by_bytes: MeasuredByBytes | None = None
    """Copies of pinned memory that the host waits for."""
    device_to_host_s_by_bytes: MeasuredByBytes | None = None
    host_to_device_while_cpu_reads_s_by_bytes: MeasuredByBytes | None = None
    """The same while a CPU rank reads memory as fast as it can."""
    device_to_host_while_cpu_reads_s_by_bytes: MeasuredByBytes | None = None
    device_to_device_bytes_per_s: Measured | None = None
    """To the next GPU."""
    weight_read_bytes_per_s_by_rows: MeasuredByRows | None = None
    """Weights that a bf16 GEMM reads."""
    uva_read_bytes_per_s_by_rows: MeasuredByRows | None = None
    """The same with the weights in pinned host memory."""
    attention_read_bytes_per_s: Measured | None = None
    attention_read_bytes_per_s_by_sequences: MeasuredByRows | None = None
    """KV cache that decode attention reads; rows are sequences."""
    layer_overhead_s: Measured | None = None
    """With CUDA graphs."""
    layer_overhead_eager_s: Measured | None = None
    """Without."""


class NotMeasured(Frozen):
    """A measurement that failed."""

    device: str
    """``cuda:0``, or ``node 0``."""
    what: str
    """The measurement."""
    reason: str
    """Why not."""


class MachineProfile(Document):
    """Measurements of one machine. A figure that is left out keeps its other source."""

    KIND: ClassVar[str] = "hetctl.machine_profile"

    machine_fingerprint: str = Field(min_length=1)
    """Of the machine; it is also the file's name."""
    measured_at: AwareDatetime
    """The time of the measurements."""
    tool_versions: dict[str, str]
    """Of what the figures depend on: ``torch``, ``vllm``, ``driver``, ``kernel``."""
    numa_nodes: tuple[NodeProfile, ...] = ()
    gpus: tuple[GpuProfile, ...] = ()
    not_measured: tuple[NotMeasured, ...] = ()
    """What failed and so keeps its other source."""

    def age_days(self, now: datetime) -> float:
        """Days since the measurement."""
        return (now - self.measured_at).total_seconds() / 86400

"""What a machine is: the document that ``hetctl probe`` writes and plans read.

Facts come from NVML, ``/sys`` and ``/proc``. Rates (``*_bytes_per_s``, ``*_flops``) are
:class:`~hetctl.document.Figure` objects that say whether they were measured, looked up in
a datasheet or estimated; a probe alone leaves them out and
:func:`hetctl.profiles.with_rates` fills them in.
"""

from typing import ClassVar, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from hetctl.bounds import RatedPart
from hetctl.contradictions import FROM_MEDIANS, contradiction
from hetctl.document import Document, Figure, FigureByBytes, FigureByRows, Frozen


class PcieLink(Frozen):
    """PCI Express generation and lane count; an idle GPU may report a lower ``now``."""

    generation_now: PositiveInt | None = None
    """PCI Express generation, 5 for PCIe 5.0."""
    width_now: PositiveInt | None = None
    """Lanes."""
    generation_max: PositiveInt | None = None
    width_max: PositiveInt | None = None


class MigInstance(Frozen):
    """A slice of a GPU that MIG presents as a CUDA device of its own."""

    uuid: str
    """As ``CUDA_VISIBLE_DEVICES`` takes it."""
    memory_total_bytes: PositiveInt
    memory_free_bytes: NonNegativeInt


class Gpu(RatedPart):
    """One CUDA device, numbered as NVML and ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` number it."""

    PART = "gpu"

    index: NonNegativeInt
    """N of ``cuda:N``."""
    name: str
    """As NVML tells it."""
    uuid: str = ""
    memory_total_bytes: PositiveInt
    memory_free_bytes: NonNegativeInt
    """What other programs left."""
    compute_capability: tuple[int, int] | None = None
    """Major and minor: 9, 0 is Hopper."""
    pcie: PcieLink | None = None
    pci_bus_id: str = ""
    """As in ``/sys/bus/pci/devices``: ``0000:17:00.0``."""
    numa_node: NonNegativeInt | None = None
    """The host NUMA node that the GPU is attached to."""
    memory_numa_node: NonNegativeInt | None = None
    """Where the GPU's own memory is a NUMA node (Grace Hopper): that node."""
    nvlink_peers: tuple[NonNegativeInt, ...] = ()
    """Indices of the GPUs that it has NVLink to."""
    mig_enabled: bool = False
    """With MIG the memory is that of the instance which CUDA programs see."""
    mig_instances: tuple[MigInstance, ...] = ()
    memory_bus_bits: PositiveInt | None = None
    memory_clock_hz: PositiveInt | None = None
    """Highest memory clock; data moves on both of its edges."""
    cuda_cores: PositiveInt | None = None
    sm_clock_hz: PositiveInt | None = None
    """Highest clock of the multiprocessors."""
    memory_read_bytes_per_s: Figure | None = None
    """The fastest that its memory can be read."""
    matmul_bf16_flops: Figure | None = None
    """Operations per second of a large matrix product in bfloat16."""
    host_to_device_bytes_per_s: Figure | None = None
    """Copies from pinned host memory."""
    device_to_host_bytes_per_s: Figure | None = None
    """Copies to pinned host memory."""
    host_to_device_while_cpu_reads_s_by_bytes: FigureByBytes | None = None
    """Copies of pinned memory while a CPU rank reads memory as fast as it can."""
    device_to_host_while_cpu_reads_s_by_bytes: FigureByBytes | None = None
    device_to_device_bytes_per_s: Figure | None = None
    """To a peer on the same host: NVLink, or PCIe."""
    weight_read_bytes_per_s_by_rows: FigureByRows | None = None
    """Weights that a bf16 GEMM reads; without it, shares of ``memory_read_bytes_per_s``."""
    uva_read_bytes_per_s_by_rows: FigureByRows | None = None
    """The same with the weights in pinned host memory (vLLM's UVA offloading)."""
    matmul_fp16_flops: Figure | None = None
    matmul_fp32_flops: Figure | None = None
    attention_read_bytes_per_s: Figure | None = None
    """KV cache that decode attention reads."""
    attention_read_bytes_per_s_by_sequences: FigureByRows | None = None
    """The same by sequences that decode together."""
    layer_overhead_s: Figure | None = None
    """Launches and norms of one layer, whatever its size; with CUDA graphs."""
    layer_overhead_eager_s: Figure | None = None
    """The same without."""
    hop_latency_s: Figure | None = None
    """The GPU's side of a pipeline hand-over to a CPU rank, without the bytes."""


class Core(Frozen):
    """One physical core: its logical CPUs (SMT siblings) that this process may use."""

    cpus: tuple[NonNegativeInt, ...]
    """Numbers of the kernel."""
    socket: NonNegativeInt = 0
    """The socket that it is on."""


class NumaNode(RatedPart):
    """One NUMA node: the cores that this process may use, and its memory."""

    PART = "node"

    id: NonNegativeInt
    """The kernel's number."""
    cores: tuple[Core, ...]
    memory_total_bytes: NonNegativeInt
    memory_free_bytes: NonNegativeInt
    """Free and reclaimable (page cache) memory that this process may take.

    Where a cgroup leaves less than the nodes have free, each node's figure is lowered in
    proportion, so that the sum over nodes is what the cgroup leaves.
    """
    hugepages_total: NonNegativeInt = 0
    """Huge pages that are set aside."""
    hugepages_free: NonNegativeInt = 0
    hugepage_size_bytes: PositiveInt | None = None
    distances: dict[int, PositiveInt] = Field(default_factory=dict)
    """ACPI SLIT distance to each node; 10 is local."""
    logical_cpus_online: NonNegativeInt | None = None
    """All CPUs of the node, usable by this process or not; None where not known."""
    memory_read_bytes_per_s: Figure | None = None
    """The fastest that all of its cores together can read its memory."""
    memory_read_bytes_per_s_by_node: dict[NonNegativeInt, Figure] = Field(default_factory=dict)
    """Of memory that lies on other nodes."""
    memory_read_while_copying_bytes_per_s: Figure | None = None
    """While a GPU's copy engine reads and writes pinned memory."""
    matmul_bf16_flops: Figure | None = None
    """Operations per second of a large matrix product in bfloat16 on all of its cores."""
    matmul_fp16_flops: Figure | None = None
    """The same in float16."""
    matmul_fp32_flops: Figure | None = None
    """The same in float32."""
    weight_read_bytes_per_s_by_rows: FigureByRows | None = None
    """Weights that a bf16 GEMM on all of the node's cores reads, up to the rows where
    computing is what costs; without it, shares of ``memory_read_bytes_per_s``."""
    weight_read_fp16_bytes_per_s_by_rows: FigureByRows | None = None
    """The same in float16."""
    weight_read_fp32_bytes_per_s_by_rows: FigureByRows | None = None
    """The same in float32."""
    attention_read_bytes_per_s: Figure | None = None
    """KV cache that decode attention reads."""
    attention_read_bytes_per_s_by_sequences: FigureByRows | None = None
    """The same by sequences that decode together."""
    layer_overhead_s: Figure | None = None
    """Kernel calls and norms of one layer, whatever its size."""
    hop_latency_s: Figure | None = None
    """A pipeline hand-over between this node and a GPU, without the bytes: the node's side."""
    hop_bytes_per_s: Figure | None = None
    """Bytes of a hand-over, once it has begun."""
    all_reduce_s_by_bytes: FigureByBytes | None = None
    """An all-reduce of a rank on this node and one other rank."""
    rate_cores: PositiveInt | None = None
    """Cores whose rates these are; None for all of ``cores``."""

    @property
    def cpus(self) -> tuple[int, ...]:
        """Every usable logical CPU, SMT siblings included, in order."""
        return tuple(sorted(cpu for core in self.cores for cpu in core.cpus))


class Cache(Frozen):
    """One level of CPU cache."""

    level: PositiveInt
    """1, 2 or 3."""
    kind: str
    """``data``, ``instruction`` or ``unified``."""
    size_bytes: PositiveInt
    """Of one instance."""
    instances: PositiveInt
    """How many there are."""


class Cpu(Frozen):
    """The processor model; how many cores there are is in the NUMA nodes."""

    model: str
    """As the kernel tells it."""
    vendor: str = ""
    architecture: str = "x86_64"
    sockets: PositiveInt = 1
    """Packages."""
    logical_cpus_online: PositiveInt = 1
    """All CPUs of the machine, usable by this process or not."""
    cpu_quota: float | None = None
    """CPUs' worth of time that the cgroup grants, or None for no limit."""
    isa: tuple[str, ...] = ()
    """Of: avx2, avx512f, avx512_bf16, avx512_vnni, avx_vnni, amx_tile, amx_bf16, amx_int8;
    on ARM: asimd, asimddp, bf16, i8mm, sve, sve2."""
    caches: tuple[Cache, ...] = ()

    @property
    def last_cache_bytes(self) -> int:
        """All caches of the last level together; 0 where none is known."""
        last = max((cache.level for cache in self.caches), default=0)
        return sum(c.size_bytes * c.instances for c in self.caches if c.level == last)


class Machine(Document):
    """A machine as the planner sees it."""

    KIND: ClassVar[str] = "hetctl.machine"

    name: str = ""
    """Of a machine in ``profiles/machines``; empty for one that was probed."""
    hostname: str = ""
    fingerprint: str = ""
    """Hash of what makes measurements comparable; see :mod:`hetctl.probe.fingerprint`."""
    kernel: str = ""
    """Its release."""
    in_container: bool = False
    """Whether the probe ran in one."""
    cpu: Cpu
    numa_nodes: tuple[NumaNode, ...]
    gpus: tuple[Gpu, ...] = ()
    driver_version: str = ""
    """Of the NVIDIA driver."""
    cuda_driver_version: str = ""
    """The newest CUDA that the driver runs."""
    memory_limit_bytes: PositiveInt | None = None
    """The cgroup's memory limit, or None for no limit."""
    shm_free_bytes: NonNegativeInt | None = None
    """Free room in ``/dev/shm``."""
    notes: tuple[str, ...] = ()
    """What could not be found out, and why (one sentence each)."""
    rate_notes: tuple[str, ...] = ()
    """What plans should say about where the rates come from (one sentence each)."""

    @model_validator(mode="after")
    def _does_not_contradict_itself(self) -> Self:
        parts: dict[str, RatedPart] = {f"numa_nodes.{n.id}": n for n in self.numa_nodes}
        parts |= {f"gpus.{gpu.index}": gpu for gpu in self.gpus}
        for name, part in parts.items():
            if found := contradiction(part, FROM_MEDIANS, self.cpu.last_cache_bytes):
                raise ValueError(f"{name}.{found}; one of the two is wrong")
        return self

    @property
    def memory_free_bytes(self) -> int:
        """Host memory that this process may still take."""
        return sum(node.memory_free_bytes for node in self.numa_nodes)

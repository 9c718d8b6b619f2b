"""What was measured, as tables: medians, how far samples lie apart, and what tables say."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.document import Figure
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.machine_profile import (
    GpuProfile,
    MachineProfile,
    Measured,
    MeasuredByBytes,
    MeasuredByRows,
    NodeProfile,
)
from hetctl.profiles import with_rates
from hetctl.units import format_bytes

_NAMES = {
    "memory_read_bytes_per_s": "memory read",
    "memory_read_while_copying_bytes_per_s": "memory read while a GPU copies",
    "memory_read_bytes_per_s_by_node": "memory read from node",
    "matmul_bf16_flops": "matrix rate, bf16",
    "matmul_fp16_flops": "matrix rate, fp16",
    "matmul_fp32_flops": "matrix rate, fp32",
    "host_to_device_bytes_per_s": "pinned memory to GPU",
    "device_to_host_bytes_per_s": "GPU to pinned memory",
    "device_to_device_bytes_per_s": "to the next GPU",
    "attention_read_bytes_per_s": "attention reads KV cache",
    "layer_overhead_s": "overhead of a layer",
    "layer_overhead_eager_s": "the same without CUDA graphs",
    "hop_latency_s": "latency of a hop",
    "hop_bytes_per_s": "rate of a hop",
}
_COLUMNS = {
    "weight_read_bytes_per_s_by_rows": "weights, bf16",
    "weight_read_fp16_bytes_per_s_by_rows": "weights, fp16",
    "weight_read_fp32_bytes_per_s_by_rows": "weights, fp32",
    "uva_read_bytes_per_s_by_rows": "by UVA, bf16",
    "attention_read_bytes_per_s_by_sequences": "attention's KV cache",
    "host_to_device_s_by_bytes": "to GPU",
    "device_to_host_s_by_bytes": "from GPU",
    "host_to_device_while_cpu_reads_s_by_bytes": "to, CPU reads",
    "device_to_host_while_cpu_reads_s_by_bytes": "from, CPU reads",
    "hop_s_by_bytes": "hop",
    "all_reduce_s_by_bytes": "all-reduce",
}


@dataclass(frozen=True)
class _Unit:
    """How figures of a kind are written."""

    name: str
    size: float

    def __call__(self, value: float) -> str:
        return self._written(value, 3)

    def round(self, value: float) -> str:
        """In two digits, for a spread."""
        return self._written(value, 2)

    def _written(self, value: float, digits: int) -> str:
        scaled = value / self.size
        return f"{scaled:.0f}" if scaled >= 10 ** (digits - 1) else f"{scaled:.{digits}g}"


_GB_PER_S = _Unit("GB/s", 1e9)
_TFLOPS = _Unit("TFLOP/s", 1e12)
_MICROSECONDS = _Unit("us", 1e-6)


def render_profile(profile: MachineProfile, machine: Machine) -> RenderableType:
    """Each device's figures, and what could not be measured."""
    tabled = with_rates(machine)
    nodes = {node.id: node for node in tabled.numa_nodes}
    gpus = {gpu.index: gpu for gpu in tabled.gpus}
    parts: list[RenderableType] = []
    for node in profile.numa_nodes:
        cores = "1 core" if node.threads == 1 else f"{node.threads} cores"
        title = f"node {node.numa_node}, {cores}"
        parts += _device(title, node, nodes.get(node.numa_node))
    for gpu in profile.gpus:
        card = gpus.get(gpu.index)
        parts += _device(f"cuda:{gpu.index}" + (f", {card.name}" if card else ""), gpu, card)
    parts.append(Text("Medians, and (lowest-highest).", style="dim"))
    for missing in profile.not_measured:
        text = f"Not measured: {missing.device}: {missing.what}: {missing.reason}."
        parts.append(Text(text, style="yellow"))
    return Group(*parts)


_Part = NodeProfile | GpuProfile


def _device(title: str, part: _Part, tabled: Gpu | NumaNode | None) -> list[RenderableType]:
    tables = [
        _scalars(title, part, tabled),
        _by("GB/s, by rows", part, MeasuredByRows, "by_rows", _GB_PER_S),
        _by("GB/s, by sequences", part, MeasuredByRows, "by_sequences", _GB_PER_S),
        _by("us, by bytes", part, MeasuredByBytes, "by_bytes", _MICROSECONDS),
    ]
    return [item for table in tables if table.row_count for item in (table, Text())]


def _scalars(title: str, part: _Part, tabled: Gpu | NumaNode | None) -> Table:
    table = _table(title, ("Median", "", "Lowest - highest", "Of", "Tables say"))
    for name, figure in _single(part):
        unit = _unit_of(name)
        base, _, node = name.partition(" ")
        label = _NAMES[base] + (f" {node}" if node else "")
        table.add_row(
            label,
            unit(figure.median),
            Text(unit.name),
            f"{unit(figure.low)} - {unit(figure.high)}",
            str(figure.samples),
            _listed(getattr(tabled, name, None), unit),
        )
    table.columns[2].justify = "left"
    return table


def _single(part: _Part) -> list[tuple[str, Measured]]:
    found = []
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Measured):
            found.append((name, value))
        elif isinstance(value, dict):
            found += [(f"{name} {node}", figure) for node, figure in value.items()]
    return found


def _by(
    heading: str,
    part: _Part,
    kind: type[MeasuredByRows] | type[MeasuredByBytes],
    suffix: str,
    unit: _Unit,
) -> Table:
    """One line per number of rows or bytes, one column per figure."""
    tables = {
        name: _points(getattr(part, name))
        for name in type(part).model_fields
        if name.endswith(suffix) and isinstance(getattr(part, name), kind)
    }
    table = _table(heading, [_COLUMNS[name] for name in tables])
    for at in sorted({at for points in tables.values() for at in points}):
        label = f"{at:,}" if kind is MeasuredByRows else format_bytes(at).replace(".0 ", " ")
        table.add_row(
            Text(label, justify="right"),
            *(_with_spread(points.get(at), unit) for points in tables.values()),
        )
    return table


def _points(table: MeasuredByRows | MeasuredByBytes) -> dict[int, Measured]:
    at = table.rows if isinstance(table, MeasuredByRows) else table.sizes_bytes
    return dict(zip(at, table.values, strict=True))


def _with_spread(figure: Measured | None, unit: _Unit) -> str:
    if figure is None:
        return "-"
    return f"{unit(figure.median)} ({unit.round(figure.low)}-{unit.round(figure.high)})"


def _unit_of(name: str) -> _Unit:
    if name.endswith("_flops"):
        return _TFLOPS
    return _GB_PER_S if "_bytes_per_s" in name else _MICROSECONDS


def _listed(figure: object, unit: _Unit) -> str:
    """What the tables by device have, if they have it."""
    if not isinstance(figure, Figure):
        return ""
    return unit(figure.value) + (", estimate" if figure.source == "estimate" else "")


def _table(first: str, others: Sequence[str]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", overflow="fold")
    return table

"""What was measured, as tables: medians, how far samples lie apart, and what tables say."""

from collections.abc import Callable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.document import Figure, Frozen
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.machine_profile import (
    MachineProfile,
    Measured,
    MeasuredByBytes,
    MeasuredByRows,
    NodeProfile,
)
from hetctl.profiles import with_rates
from hetctl.profiles.measured import NOT_PLANNED_WITH
from hetctl.units import format_bytes, format_duration, format_rate

_NAMES = {
    "memory_read_bytes_per_s": "Memory read",
    "memory_read_bytes_per_s_by_node": "Memory read from",
    "memory_read_while_copying_bytes_per_s": "Memory read, GPU copying",
    "matmul_bf16_flops": "Matrix rate, bf16",
    "matmul_fp16_flops": "Matrix rate, fp16",
    "matmul_fp32_flops": "Matrix rate, fp32",
    "weight_read_bytes_per_s_by_rows": "Weights, bf16",
    "weight_read_fp16_bytes_per_s_by_rows": "Weights, fp16",
    "weight_read_fp32_bytes_per_s_by_rows": "Weights, fp32",
    "uva_read_bytes_per_s_by_rows": "Weights over the link (UVA)",
    "attention_read_bytes_per_s": "Attention's KV cache",
    "attention_read_bytes_per_s_by_sequences": "Attention's KV cache",
    "layer_overhead_s": "Overhead of a layer",
    "layer_overhead_eager_s": "Overhead of a layer, eager",
    "host_to_device_bytes_per_s": "Host to GPU",
    "device_to_host_bytes_per_s": "GPU to host",
    "device_to_device_bytes_per_s": "To the next GPU",
    "host_to_device_s_by_bytes": "Copy to the GPU",
    "device_to_host_s_by_bytes": "Copy from the GPU",
    "host_to_device_while_cpu_reads_s_by_bytes": "Copy to the GPU, CPU reading",
    "device_to_host_while_cpu_reads_s_by_bytes": "Copy from the GPU, CPU reading",
    "hop_s_by_bytes": "Pipeline hop",
    "all_reduce_s_by_bytes": "All-reduce of two ranks",
}

_Format = Callable[[float], str]


def render_profile(profile: MachineProfile, machine: Machine) -> RenderableType:
    """A table for each device, and what could not be measured."""
    tabled = with_rates(machine)
    parts: list[RenderableType] = []
    for node in profile.numa_nodes:
        known = next((n for n in tabled.numa_nodes if n.id == node.numa_node), None)
        parts += [_table(f"node {node.numa_node}, {_cores(node)}", node, known), Text()]
    for gpu in profile.gpus:
        card = next((g for g in tabled.gpus if g.index == gpu.index), None)
        name = f"cuda:{gpu.index}" + (f", {card.name}" if card else "")
        parts += [_table(name, gpu, card), Text()]
    parts.append(Text("* kept for comparison: plans do not rest on it", style="dim"))
    for missing in profile.not_measured:
        text = f"Not measured: {missing.device}: {missing.what}: {missing.reason}."
        parts.append(Text(text, style="yellow"))
    return Group(*parts)


def _cores(node: NodeProfile) -> str:
    return "1 core" if node.threads == 1 else f"{node.threads} cores"


def _table(title: str, part: Frozen, tabled: Gpu | NumaNode | None) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    table.add_column(title, overflow="fold")
    for heading in ("Median", "Lowest", "Highest", "Of", "Tables say"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, where, figure, form in _rows(part):
        label = _NAMES[name] + (f", {where}" if where else "")
        mark = " *" if name in NOT_PLANNED_WITH else ""
        listed = None if where else getattr(tabled, name, None)
        table.add_row(
            label + mark,
            form(figure.median),
            form(figure.low),
            form(figure.high),
            str(figure.samples),
            _listed(listed, form),
        )
    return table


def _listed(figure: Figure | None, form: _Format) -> str:
    if not isinstance(figure, Figure):
        return ""
    return form(figure.value) + (" (estimate)" if figure.source == "estimate" else "")


def _rows(part: Frozen) -> Iterator[tuple[str, str, Measured, _Format]]:
    """Name, at which rows or bytes, figure, and how it is written."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        form = _format_of(name)
        if isinstance(value, Measured):
            yield name, "", value, form
        elif isinstance(value, MeasuredByRows):
            what = "sequence" if "sequences" in name else "row"
            for rows, figure in zip(value.rows, value.values, strict=True):
                yield name, f"{rows:,} {what}" + ("" if rows == 1 else "s"), figure, form
        elif isinstance(value, MeasuredByBytes):
            for size, figure in zip(value.sizes_bytes, value.values, strict=True):
                yield name, format_bytes(size).replace(".0 ", " "), figure, form
        elif isinstance(value, dict):
            for node, figure in value.items():
                yield name, f"node {node}", figure, form


def _format_of(name: str) -> _Format:
    if "_flops" in name:
        return _format_flops
    return format_rate if "_bytes_per_s" in name else format_duration


def _format_flops(flops: float) -> str:
    value = flops / 1e12
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} TFLOP/s"

"""A machine as tables for a terminal of 80 columns or more."""

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.machine import Machine, NumaNode, PcieLink
from hetctl.probe.cpu_list import format_cpu_list
from hetctl.units import format_bytes

_UNKNOWN = "?"
_NONE = "-"


def render_machine(machine: Machine, measured: str = "") -> RenderableType:
    """Header, NUMA nodes, GPUs and notes. Columns that would say nothing are left out.

    Args:
        measured: What to say about measurements of it; nothing by default.
    """
    parts: list[RenderableType] = [_header(machine, measured), Text(), _numa_table(machine)]
    if machine.gpus:
        parts += [Text(), _gpu_table(machine)]
    if machine.notes:
        parts += [Text(), _notes(machine.notes)]
    return Group(*parts)


def _header(machine: Machine, measured: str) -> RenderableType:
    cpu = machine.cpu
    name = machine.hostname or machine.name
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    grid.add_row(
        "Machine", Text(f"{name}  ({machine.fingerprint})" if name else machine.fingerprint)
    )
    grid.add_row("CPU", Text(f"{cpu.model}, {_counted(cpu.sockets, 'socket')}"))
    grid.add_row("Usable", _usable(machine))
    grid.add_row("ISA", Text(" ".join(cpu.isa) or _UNKNOWN))
    if cpu.caches:
        grid.add_row("Caches", _caches(machine))
    grid.add_row("Memory", _memory(machine))
    grid.add_row("System", _system(machine))
    if measured:
        grid.add_row("Measured", Text(measured))
    return grid


def _usable(machine: Machine) -> Text:
    """``16 cores, 32 of 64 CPUs, 12.5 CPUs of time``."""
    cores = sum(len(node.cores) for node in machine.numa_nodes)
    cpus = sum(len(node.cpus) for node in machine.numa_nodes)
    text = Text(f"{_counted(cores, 'core')}, {cpus} of {machine.cpu.logical_cpus_online} CPUs")
    if machine.cpu.cpu_quota is not None:
        text.append(f", {machine.cpu.cpu_quota:g} CPUs of time (cgroup quota)", style="yellow")
    return text


def _caches(machine: Machine) -> Text:
    names = {"data": "d", "instruction": "i"}
    return Text(
        ", ".join(
            f"L{cache.level}{names.get(cache.kind, '')} {_count_of(cache.instances)}"
            f"{_round_bytes(cache.size_bytes)}"
            for cache in machine.cpu.caches
        )
    )


def _memory(machine: Machine) -> Text:
    total = sum(node.memory_total_bytes for node in machine.numa_nodes)
    text = Text(f"{format_bytes(machine.memory_free_bytes)} free of {format_bytes(total)}")
    if machine.memory_limit_bytes is not None:
        limit = format_bytes(machine.memory_limit_bytes)
        text.append(f", limited to {limit} (cgroup)", style="yellow")
    if machine.shm_free_bytes is not None:
        text.append(f", /dev/shm {format_bytes(machine.shm_free_bytes)} free")
    return text


def _system(machine: Machine) -> Text:
    facts = [f"Linux {machine.kernel}" if machine.kernel else "Linux"]
    if machine.in_container:
        facts.append("in a container")
    if machine.driver_version:
        facts.append(f"NVIDIA driver {machine.driver_version}")
    if machine.cuda_driver_version:
        facts.append(f"CUDA {machine.cuda_driver_version}")
    return Text(", ".join(facts))


def _numa_table(machine: Machine) -> Table:
    nodes = machine.numa_nodes
    table = _table("NUMA")
    table.add_column("Cores", justify="right")
    table.add_column("SMT", justify="right")
    table.add_column("CPUs", overflow="fold")
    table.add_column("Free / total", justify="right")
    huge_pages = any(node.hugepages_total for node in nodes)
    if huge_pages:
        table.add_column("Huge pages", justify="right")
    if len(nodes) > 1:
        table.add_column("Distances")
    for node in nodes:
        row = [
            str(node.id),
            str(len(node.cores)),
            str(max((len(core.cpus) for core in node.cores), default=0) or _NONE),
            format_cpu_list(node.cpus) or _NONE,
            _free_of_total(node.memory_free_bytes, node.memory_total_bytes),
        ]
        if huge_pages:
            row.append(_huge_pages(node))
        if len(nodes) > 1:
            row.append(" ".join(str(node.distances.get(other.id, _UNKNOWN)) for other in nodes))
        table.add_row(*row)
    return table


def _huge_pages(node: NumaNode) -> str:
    """``100/128 x 2.0 MiB``: free, total and size."""
    if not node.hugepages_total:
        return _NONE
    size = _round_bytes(node.hugepage_size_bytes or 0)
    return f"{node.hugepages_free}/{node.hugepages_total} x {size}"


def _gpu_table(machine: Machine) -> Table:
    gpus = machine.gpus
    table = _table("GPU")
    table.add_column("Name")
    table.add_column("Free / total", justify="right")
    table.add_column("CC", justify="right")
    table.add_column("PCIe now / max", no_wrap=True)
    table.add_column("NUMA", justify="right")
    nvlink = any(gpu.nvlink_peers for gpu in gpus)
    if nvlink:
        table.add_column("NVLink", overflow="fold")
    mig = any(gpu.mig_enabled for gpu in gpus)
    if mig:
        table.add_column("MIG")
    for gpu in gpus:
        row = [
            str(gpu.index),
            gpu.name.removeprefix("NVIDIA ").removesuffix(" Generation"),
            _free_of_total(gpu.memory_free_bytes, gpu.memory_total_bytes),
            ".".join(map(str, gpu.compute_capability or [_UNKNOWN])),
            _pcie(gpu.pcie),
            _UNKNOWN if gpu.numa_node is None else str(gpu.numa_node),
        ]
        if nvlink:
            row.append(format_cpu_list(gpu.nvlink_peers) or _NONE)
        if mig:
            row.append("on" if gpu.mig_enabled else "off")
        table.add_row(*row)
    return table


def _pcie(link: PcieLink | None) -> str:
    """``1.0 x16 / 5.0 x16``: generation and lanes; once where both are equal."""
    if link is None:
        return _UNKNOWN
    now = _generation_and_lanes(link.generation_now, link.width_now)
    most = _generation_and_lanes(link.generation_max, link.width_max)
    return now if now == most else f"{now} / {most}"


def _generation_and_lanes(generation: int | None, lanes: int | None) -> str:
    return f"{f'{generation}.0' if generation else _UNKNOWN} x{lanes or _UNKNOWN}"


def _notes(notes: Iterable[str]) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column()
    grid.add_column(overflow="fold")
    for note in notes:
        grid.add_row(Text("!", style="yellow"), Text(note))
    return grid


def _table(first_column: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    table.add_column(first_column, justify="right", no_wrap=True)
    return table


def _free_of_total(free: int, total: int) -> str:
    """``90.1 / 94.2 GiB``: both in the unit of the total."""
    number, unit = format_bytes(total).split(" ")
    size = {"TiB": 1024**4, "GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}.get(unit, 1)
    digits = 1 if "." in number else 0
    return f"{free / size:.{digits}f} / {number} {unit}"


def _round_bytes(count: int) -> str:
    """``48 KiB`` rather than ``48.0 KiB``, for sizes that are mostly whole numbers."""
    return format_bytes(count).replace(".0 ", " ")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _count_of(count: int) -> str:
    return "" if count == 1 else f"{count} x "

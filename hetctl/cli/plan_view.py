"""How a plan looks in a terminal, from 80 columns on."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.plan import Plan, RankedStrategy, RankPlan
from hetctl.probe.cpu_list import format_cpu_list
from hetctl.units import format_bytes, format_duration, format_throughput

_BAR_CELLS = 5
_SMALL_BAR_CELLS = 4
_MOST_BARS = 3
_NEARLY_FULL = 0.95


def plan_view(plan: Plan) -> Group:
    """Title, ranks, prediction, reasons and all strategies."""
    parts: list[RenderableType] = [_title(plan), _ranks(plan), _prediction(plan), Text()]
    parts += [_bullet(sentence) for sentence in plan.explanation]
    if len(plan.ranking) > 1:
        parts += [Text(), _ranking(plan.ranking)]
        parts += [_cannot_run(entry) for entry in plan.ranking if not entry.feasible]
    return Group(*parts)


def _title(plan: Plan) -> Text:
    billions = plan.model_parameters / 1e9
    size = f"{billions:.1f}B" if billions >= 1 else f"{plan.model_parameters / 1e6:.0f}M"
    return Text.assemble(
        (plan.model, "bold"),
        f"  {size} parameters, {plan.dtype}, context {plan.max_model_len:,}",
    )


def _ranks(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("device", no_wrap=True)
    table.add_column("layers", no_wrap=True)
    table.add_column("weights", justify="right", no_wrap=True)
    table.add_column("KV cache", justify="right", no_wrap=True)
    table.add_column("memory used", no_wrap=True)
    table.add_column("decode", justify="right", no_wrap=True)
    for rank in plan.ranks:
        table.add_row(
            str(rank.rank),
            _device(rank),
            _layers(rank),
            format_bytes(rank.weight_bytes),
            format_bytes(rank.kv_cache_bytes),
            _memory(rank),
            format_duration(rank.decode_step_s),
        )
    return table


def _device(rank: RankPlan) -> Text:
    name = rank.device if rank.numa_node is None else f"{rank.device} node {rank.numa_node}"
    text = Text(name, style="green" if rank.device != "cpu" else "cyan")
    if rank.cpus:
        text.append(f"\nCPUs {format_cpu_list(rank.cpus)}", style="dim")
    return text


def _layers(rank: RankPlan) -> str:
    first, end = rank.layers
    return f"{first}-{end - 1}" if end - first > 1 else str(first)


def _memory(rank: RankPlan) -> Text:
    bar = _bar(rank, _BAR_CELLS)
    return bar.append(f" {_of(rank.used_bytes, rank.memory_limit_bytes)}")


def _bar(rank: RankPlan, cells: int) -> Text:
    share = min(1.0, rank.used_bytes / rank.memory_limit_bytes)
    filled = round(share * cells)
    style = "yellow" if share > _NEARLY_FULL else "green"
    return Text.assemble(("█" * filled, style), ("░" * (cells - filled), "dim"))


def _of(used: int, limit: int) -> str:
    """``9.3 of 126 GiB``: the unit once where both have the same."""
    number, unit = format_bytes(used).split()
    whole = format_bytes(limit)
    return f"{number} of {whole}" if whole.endswith(f" {unit}") else f"{number} {unit} of {whole}"


def _prediction(plan: Plan) -> Text:
    found, load = plan.prediction, plan.workload
    text = Text.assemble(
        "\nEstimated: " if found.rates == "estimate" else "\nPredicted: ",
        (f"{format_throughput(found.output_tokens_per_s)} tokens/s", "bold"),
        f", first token after {format_duration(found.ttft_s)}, "
        f"then {format_duration(found.tpot_s)} per token",
        f"\n{load.concurrency} requests of {load.input_len} + {load.output_len} tokens at once; "
        f"rates of this machine: ",
    )
    text.append(found.rates, style="yellow" if found.rates == "estimate" else "green")
    return text


def _bullet(sentence: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row("-", Text(sentence))
    return grid


def _ranking(found: tuple[RankedStrategy, ...]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("strategy")
    table.add_column("layers", no_wrap=True)
    for name in ("tokens/s", "TTFT", "TPOT"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("memory", no_wrap=True)
    for entry in found:
        speed = entry.prediction
        if speed is None:
            continue
        table.add_row(
            "*" if entry.chosen else "",
            entry.name,
            _split(entry.split),
            format_throughput(speed.output_tokens_per_s),
            format_duration(speed.ttft_s),
            format_duration(speed.tpot_s),
            _bars(entry.ranks),
            style="bold" if entry.chosen else "",
        )
    return table


def _split(split: tuple[int, ...]) -> str:
    """``8+24``, or how many stages where they are many."""
    return "+".join(map(str, split)) if len(split) <= _MOST_BARS else f"{len(split)} stages"


def _bars(ranks: tuple[RankPlan, ...]) -> Text:
    """How full each device is, in order."""
    text = Text()
    for rank in ranks[:_MOST_BARS]:
        text.append_text(_bar(rank, _SMALL_BAR_CELLS))
        text.append(" ")
    if len(ranks) > _MOST_BARS:
        text.append(f"+{len(ranks) - _MOST_BARS}")
    return text


def _cannot_run(entry: RankedStrategy) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("-"), Text(f"Not {entry.name}: {entry.verdict}."), style="dim")
    return grid

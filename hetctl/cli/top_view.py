"""How a running server looks in a terminal, from 60 columns on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from hetctl.top.frame import Frame, RankFrame, ServerFrame, TimeShares
from hetctl.units import format_bytes, format_duration, format_rate, format_throughput

_UNKNOWN = "-"
_GAP = 2
_FACT_WIDTH = 30
_BAR_LEAST, _BAR_MOST = 10, 100


@dataclass(frozen=True)
class _Part:
    letter: str
    """So that parts are told apart without colours and in any character set."""
    name: str
    style: str
    share: Callable[[TimeShares], float]


_PARTS = (
    _Part("L", "layers", "green", lambda time: time.layers),
    _Part("H", "head", "cyan", lambda time: time.head),
    _Part("P", "preparing", "blue", lambda time: time.other),
    _Part("R", "running", "magenta", lambda time: time.unfinished),
    _Part("W", "waiting", "yellow", lambda time: time.receiving),
    _Part("S", "sending", "yellow", lambda time: time.sending),
)


@dataclass(frozen=True)
class FrameView:
    """A frame, in as many columns as there are."""

    frame: Frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        frame, width = self.frame, options.max_width
        yield _title(frame.server)
        yield Text()
        yield _facts(frame.server, width)
        if frame.ranks:
            yield Text()
            yield _rank_table(frame.ranks, width)
        if frame.where_time_goes:
            yield Text()
            yield Text(frame.where_time_goes, style="bold")
        timed = [(rank.rank, rank.time) for rank in frame.ranks if rank.time is not None]
        if timed:
            yield Text()
            yield from _bars(timed, width)
        for note in frame.notes:
            yield Text()
            yield Text(note, style="dim")


def waiting_view(problem: str, since_s: float) -> RenderableType:
    """While the server does not answer."""
    return Group(
        Text(problem, style="yellow"), Text(f"Waiting for it, {format_duration(since_s)} so far.")
    )


def _title(server: ServerFrame) -> Text:
    text = Text(server.url, style="bold")
    for part in (server.model, server.strategy, _uptime(server.uptime_s)):
        text.append(f"  {part}" if part else "", "not bold")
    return text


def _uptime(seconds: float | None) -> str | None:
    """``up 40 s``, ``up 5 min``, ``up 3 h 05 min`` or ``up 2 d 04 h``."""
    if seconds is None:
        return None
    minutes, hours, days = (int(seconds // size) for size in (60, 3600, 86400))
    if days:
        return f"up {days} d {hours % 24:02d} h"
    if hours:
        return f"up {hours} h {minutes % 60:02d} min"
    return f"up {minutes} min" if minutes else f"up {seconds:.0f} s"


def _facts(server: ServerFrame, width: int) -> Table:
    facts = [
        ("requests", f"{server.requests_running} running, {server.requests_waiting} waiting"),
        ("KV cache", f"{server.kv_cache_used:.0%} used"),
        ("tokens/s in", _number(server.prompt_tokens_per_s)),
        ("tokens/s out", _number(server.output_tokens_per_s)),
        ("first token", _duration(server.ttft_mean_s)),
        ("token to token", _duration(server.tpot_mean_s)),
    ]
    columns = max(1, min(len(facts), width // _FACT_WIDTH))
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    for _ in range(columns):
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
    for first in range(0, len(facts), columns):
        row = facts[first : first + columns]
        grid.add_row(*(cell for name, value in row for cell in (Text(name, style="dim"), value)))
    return grid


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[RankFrame], str]
    importance: int
    """Where the terminal is too narrow for all, the lowest numbers stay."""
    left: bool = False
    of_steps: bool = False
    """There for ranks that tell of their steps, also while they make none."""
    usual: int = 0
    """Width that its values usually need, so that columns do not move with each look."""

    def width(self, ranks: Sequence[RankFrame]) -> int:
        return max(self.usual, len(self.title), *(len(self.cell(rank)) for rank in ranks))

    def says_something(self, ranks: Sequence[RankFrame]) -> bool:
        if self.of_steps:
            return any(rank.time is not None for rank in ranks)
        return any(self.cell(rank) not in ("", _UNKNOWN) for rank in ranks)


def _rank_table(ranks: Sequence[RankFrame], width: int) -> Table:
    columns = _fitting([c for c in _COLUMNS if c.says_something(ranks)], ranks, width)
    table = Table(
        box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim", expand=False
    )
    for column in columns:
        table.add_column(
            column.title,
            justify="left" if column.left else "right",
            width=column.width(ranks),
            no_wrap=True,
        )
    for rank in ranks:
        table.add_row(*(column.cell(rank) for column in columns))
    return table


def _fitting(
    columns: Sequence[_Column], ranks: Sequence[RankFrame], width: int
) -> Sequence[_Column]:
    """In their order, those that fit, the most important first."""
    kept: set[str] = set()
    left = width + _GAP
    for column in sorted(columns, key=lambda column: column.importance):
        needed = column.width(ranks) + _GAP
        if needed <= left:
            kept.add(column.title)
            left -= needed
    return [column for column in columns if column.title in kept]


def _bars(timed: Sequence[tuple[int, TimeShares]], width: int) -> RenderResult:
    """One line for each rank, and what the letters mean."""
    digits = max(len(str(rank)) for rank, _ in timed)
    cells = max(_BAR_LEAST, min(_BAR_MOST, width - digits - len("rank   ")))
    for rank, time in timed:
        yield Text.assemble((f"rank {rank:>{digits}}  ", "dim"), _bar(time, cells), no_wrap=True)
    used = [part for part in _PARTS if any(part.share(time) > 0 for _, time in timed)]
    legend = [Text.assemble((part.letter, part.style), f" {part.name}") for part in used]
    yield from _flowing([*legend, Text(". idle")], width)


def _flowing(pieces: Sequence[Text], width: int) -> Iterator[Text]:
    """Lines of whole pieces."""
    line = Text()
    for piece in pieces:
        if line and len(line) + _GAP + len(piece) > width:
            yield line
            line = Text()
        line = Text(" " * _GAP).join([line, piece]) if line else piece
    yield line


def _bar(time: TimeShares, cells: int) -> Text:
    bar, end_share = Text(), 0.0
    for part in _PARTS:
        end_share += part.share(time)
        # To the nearest cell of where it ends: so errors of rounding do not add up.
        end = min(cells, round(end_share * cells))
        bar.append(part.letter * (end - len(bar)), part.style)
    return bar.append("." * (cells - len(bar)), "dim")


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else format_throughput(value) if value else "0"


def _duration(seconds: float | None) -> str:
    return _UNKNOWN if seconds is None else format_duration(seconds)


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.0%}"


def _step(rank: RankFrame) -> str:
    """The time of a step or, where none ended in the interval, of the one that runs."""
    if rank.layers_s is not None:
        return format_duration(rank.layers_s + (rank.head_s or 0.0))
    return f">{format_duration(rank.step_running_s)}" if rank.step_running_s else _UNKNOWN


def _read_rate(rank: RankFrame) -> str:
    rate = rank.weight_read_bytes_per_s
    if rate is None:
        return _UNKNOWN
    share = rank.memory_read_share
    return format_rate(rate) + ("" if share is None else f" ({share:.0%})")


def _memory(rank: RankFrame) -> str:
    if rank.memory_bytes is None:
        return _UNKNOWN
    held = format_bytes(rank.memory_bytes)
    if rank.memory_limit_bytes is None:
        return held
    limit = format_bytes(rank.memory_limit_bytes)
    number, unit = held.split(" ")
    return f"{number}/{limit}" if limit.endswith(unit) else f"{held}/{limit}"


_COLUMNS = (
    _Column("rank", lambda rank: str(rank.rank), 1),
    _Column("device", lambda rank: rank.device, 1, left=True),
    _Column("node", lambda rank: "" if rank.numa_node is None else str(rank.numa_node), 10),
    _Column("CPUs", lambda rank: rank.cpus, 11, left=True),
    _Column("load", lambda rank: _percent(rank.load), 6),
    _Column("layers", lambda rank: rank.layers, 9, left=True),
    _Column("step", _step, 2, of_steps=True, usual=len("100.0 ms")),
    _Column("batch", lambda rank: _tokens(rank.tokens_per_step), 5, of_steps=True),
    _Column("works", lambda rank: _percent(rank.time.works if rank.time else None), 3),
    _Column("waits", lambda rank: _percent(rank.time.hops if rank.time else None), 4),
    _Column("weights read", _read_rate, 7, of_steps=True),
    _Column("memory", _memory, 8),
)


def _tokens(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"

"""The curve in the terminal."""

import io

from rich.console import Console

from hetctl.bench.results import FailedRun, Load, Results
from hetctl.bench.sweep_table import sweep_table
from tests.bench import sample

LOADS = tuple(Load(max_concurrency=count) for count in (1, 2, 4, 8, 16))


def shown(results: Results) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    console.print(sweep_table(results, ascii_only=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_saturation_failures_and_spared_points_are_told_apart() -> None:
    rates = {"cpu": (20, 20.1, 20.2), "hybrid": (10, 50, 90, 100)}
    runs = tuple(
        sample.run(name, 1, sample.measurement(rate, 0.5), point=load.point)
        for name, measured in rates.items()
        for load, rate in zip(LOADS, measured, strict=False)
    )
    failed = FailedRun(
        configuration="hybrid", repeat=1, point="c16", phase="server", reason="x", log="x"
    )
    lines = shown(
        sample.blank(
            sample.HYBRID, sample.CPU, loads=LOADS, runs=runs, failed=(failed,), stop_when_flat=True
        )
    )
    rows = {line.strip(" |").split("|")[0].strip(): line for line in lines if "at a time" in line}
    assert "20.0, 500.0 ms, 400.0 ms *" in rows["1 at a time"]
    assert "100, 500.0 ms, 80.0 ms" in rows["8 at a time"]
    assert rows["8 at a time"].rstrip(" |").endswith("-"), "the CPU was spared this load"
    assert "failed" in rows["16 at a time"]
    assert any("cpu ended at c4: 2 loads in a row" in line for line in lines)

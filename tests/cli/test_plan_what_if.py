"""``hetctl plan`` for machines that are not at hand, sweeps and pictures."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hetctl.cli.app import app
from hetctl.plan import Plan
from hetctl.planner.sensitivity import CONCURRENCIES
from hetctl.profiles.machines import machine_names
from hetctl.sweep import Sweep
from tests.cli.test_plan import LLAMA_8B

LLAMA_70B = LLAMA_8B | {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80}
LLAMA_70B |= {"num_attention_heads": 64}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    return str(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": "80"})


@pytest.mark.parametrize("machine", machine_names())
def test_every_known_machine_is_readable_in_80_columns(folder: str, machine: str) -> None:
    for config in (LLAMA_8B, LLAMA_70B):
        Path(folder, "config.json").write_text(json.dumps(config))
        done = run(folder, "--machine", machine, "--max-model-len", "2048")
        if done.exit_code:
            assert "does not fit" in str(done.exception)
            continue
        assert all(len(line) <= 80 for line in done.output.splitlines())
        assert "…" not in done.output
        assert "of a decode step" in " ".join(done.output.split())


def test_an_unknown_machine_lists_the_known_ones(folder: str) -> None:
    done = run(folder, "--machine", "cray-1")
    assert "rtx4090-ddr5" in str(done.exception)


def test_a_name_does_not_hide_a_missing_file(folder: str) -> None:
    done = run(folder, "--machine", "nowhere/machine.json")
    assert "Cannot read the hetctl.machine file nowhere/machine.json" in str(done.exception)


def test_the_choice_over_concurrency_is_the_sweeps(folder: str) -> None:
    where = (folder, "--machine", "h200-box", "--gpu-memory", "12GiB", "--json")
    plan = Plan.parse(run(*where).stdout, "plan")
    sweep = Sweep.parse(run(*where, "--sweep", "concurrency=1,2,4,...,256").stdout, "sweep")
    assert sweep.values == CONCURRENCIES
    names = [cross.name for cross in plan.crossovers]
    assert len(names) > 1  # the pipeline for few, streaming for more
    assert plan.crossovers[0].concurrency == 1
    for point in sweep.points:
        concurrency = point.workload.concurrency
        expected = [c.name for c in plan.crossovers if c.concurrency <= concurrency][-1]
        assert point.chosen is not None
        assert point.chosen.name == expected
    at = plan.crossovers[1].concurrency
    both = Sweep.parse(run(*where, "--sweep", f"concurrency={at - 1},{at}").stdout, "sweep")
    assert [p.chosen.name for p in both.points if p.chosen] == names[:2]
    # Planned for 8 sequences, on one side or the other of the first change.
    said = f"Above {at - 1} concurrent sequences, {names[1]} wins."
    if plan.workload.concurrency >= at:
        said = f"Up to {at - 1} concurrent sequences, {names[0]} wins."
    assert said in plan.explanation


def test_changes_of_the_machine_are_said_with_what_they_give(folder: str) -> None:
    where = (folder, "--machine", "rtx4090-ddr5", "--gpu-memory", "12GiB", "--json")
    plan = Plan.parse(run(*where, "--concurrency", "16").stdout, "plan")
    assert plan.offload is not None  # so the link matters
    changes = {change.change: change for change in plan.what_if}
    assert changes["a PCIe 5.0 slot"].speedup > 1.5
    larger = next(c for name, c in changes.items() if name.endswith("more memory on the GPU"))
    assert larger.strategy == "gpu"
    assert larger.speedup > 5
    assert any("A PCIe 5.0 slot would make it" in s for s in plan.explanation)


def test_a_sweep_is_a_table_of_80_columns(folder: str) -> None:
    done = run(
        folder, "--machine", "h200-box", "--gpu-memory", "12GiB", "--sweep", "input-len=128,...,512"
    )
    assert done.exit_code == 2 or "dots need two" in str(done.exception)
    done = run(
        *(folder, "--machine", "h200-box", "--gpu-memory", "12GiB"),
        *("--sweep", "input-len=128,256,...,2048"),
    )
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert all(len(line) <= 80 for line in lines)
    for value in ("128", "256", "512", "1024", "2048"):
        assert any(line.split()[:1] == [value] for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch=1,2", "sweep one of concurrency, input-len, output-len"),
        ("concurrency=", "'' is not a number"),
        ("concurrency=0", "'0' is not a number above 0"),
        ("concurrency=1,...,8", "dots need two rising numbers"),
        ("concurrency=1,2,...", "dots stand before the last"),
        ("concurrency=1,2,3,...,1000", "64 at most"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(folder: str, text: str, message: str) -> None:
    assert message in str(run(folder, "--machine", "h200-box", "--sweep", text).exception)


@pytest.mark.parametrize("kind", [".png", ".svg"])
def test_a_picture_is_drawn(folder: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"plan{kind}"
    done = run(folder, "--machine", "h200-box", "--gpu-memory", "12GiB", "--plot", str(path))
    assert done.exit_code == 0, done.output
    assert path.stat().st_size > 10_000
    if kind == ".svg":
        assert "concurrent sequences" in path.read_text()


def test_a_picture_of_no_known_format_is_refused_first(folder: str) -> None:
    done = run(folder, "--machine", "h200-box", "--plot", "plan.txt")
    assert "must end with .png, .svg, .pdf" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "speed"], "is not throughput or latency"),
        (["--ttft", "soon"], "is not a time"),
        (["--tpot", "0"], "not a time above 0"),
        (["--strategy", "hybrid"], "is none of auto, gpu, gpu-tp"),
        (["--strategy", "cpu-tp"], "it needs two CPU ranks at least (--cpu-ranks 2)"),
        (["--strategy", "uva", "--split", "8,24"], "Give --strategy or --split"),
        (["--strategy", "uva"], "the model fits"),
        (["--strategy", "gpu-tp"], "it needs two GPUs"),
        (["--sweep", "concurrency=1", "--save", "x"], "makes no plan"),
    ],
)
def test_options_that_contradict_are_one_sentence(
    folder: str, arguments: list[str], message: str
) -> None:
    done = run(folder, "--machine", "h200-box", *arguments)
    assert message in str(done.exception)


def test_limits_choose_among_strategies_and_a_miss_is_said(folder: str) -> None:
    where = (folder, "--machine", "h200-box", "--gpu-memory", "12GiB", "--concurrency", "4")
    free = Plan.parse(run(*where, "--json").stdout, "plan")
    assert free.strategy == "pipeline"
    quick = Plan.parse(run(*where, "--json", "--ttft", "500ms").stdout, "plan")
    assert quick.strategy == "pipeline-prefetch"
    assert quick.prediction.ttft_s < 0.5
    none = Plan.parse(run(*where, "--json", "--tpot", "1ms").stdout, "plan")
    assert any("Nothing keeps" in s for s in none.explanation)


def test_latency_is_of_a_request_that_runs_alone(folder: str) -> None:
    where = (folder, "--machine", "h200-box", "--gpu-memory", "12GiB", "--concurrency", "16")
    many = Plan.parse(run(*where, "--json").stdout, "plan")
    alone = Plan.parse(run(*where, "--json", "--objective", "latency").stdout, "plan")
    assert (many.strategy, alone.strategy) == ("pipeline-prefetch", "pipeline")

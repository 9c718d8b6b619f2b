"""``hetctl bench`` and ``hetctl report`` from the command line down to the files."""

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hetctl.bench import load
from hetctl.bench.compare import RESULTS_FILE
from hetctl.bench.events import Advanced, Failed, Measured
from hetctl.bench.results import FailedRun, Measurement, Results
from hetctl.bench.schedule import to_come
from hetctl.cli.app import app
from hetctl.cli.bench_progress import BenchProgress
from hetctl.errors import EXIT_INTERRUPTED, UsageError
from hetctl.launch import preflight, server
from hetctl.machine import Machine
from hetctl.model.tiny import write_tiny
from hetctl.probe import machine as probe
from hetctl.profiles import with_rates
from tests.bench import sample
from tests.bench.test_compare import Bench

REPORTS = ("results.json", "results.csv", "results.md", "report.html")


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny(folder)
    return str(folder)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What is probed: 16 cores and no GPU."""
    found = sample.machine().model_copy(update={"gpus": ()})
    monkeypatch.setattr(probe, "probe_machine", lambda: found)
    return with_rates(found)


@pytest.fixture
def connected(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The real way from the options to the results, over a server and a load that are not."""
    fake = Bench()
    monkeypatch.setattr(server, "Server", fake.server)
    monkeypatch.setattr(preflight, "prepare_runtime", lambda plan, progress: None)
    monkeypatch.setattr(load, "run_load", fake.load)
    return fake


COMPARE = ("--compare", "--split", "3,5")


def invoke(*args: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, list(args))
    return result.exit_code, result.output, result.exception


@pytest.mark.usefixtures("connected")
def test_bench_writes_every_report_and_prints_the_comparison(
    tmp_path: Path, model: str, machine: Machine
) -> None:
    out = tmp_path / "out"
    code, text, _ = invoke("bench", model, *COMPARE, "--out", str(out), "--concurrency", "3")
    assert code == 0
    assert all((out / name).stat().st_size > 0 for name in REPORTS)
    assert "Output tok/s" in text
    results = Results.load(out / RESULTS_FILE)
    assert results.offered_load.max_concurrency == 3
    assert results.offered_load.num_prompts == 12
    assert results.environment.machine == machine
    assert [c.name for c in results.configurations] == ["pipeline", "cpu"]
    assert [run.configuration for run in results.runs] == ["pipeline", "cpu"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_measured_and_exits_130(
    tmp_path: Path, connected: Bench, stop: signal.Signals, model: str
) -> None:
    def on_load(loads: int) -> None:
        if loads == 2:
            os.kill(os.getpid(), stop)

    connected.on_load = on_load
    code, _, _ = invoke("bench", model, *COMPARE, "--out", str(tmp_path), "--repeats", "2")
    assert code == EXIT_INTERRUPTED
    assert all((tmp_path / name).exists() for name in REPORTS)
    results = Results.load(tmp_path / RESULTS_FILE)
    assert results.interrupted
    assert len(results.runs) == 1
    assert "Interrupted after 1 of 4 runs" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("during", ["start", "wait", "stop"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_never_interrupts_the_start_or_the_end_of_a_server(
    tmp_path: Path, connected: Bench, stop: signal.Signals, during: str, model: str
) -> None:
    def on_server(doing: str) -> None:
        # Each is sent twice: the second must not disturb the end that the first asked for.
        if doing in (during, "stop"):
            os.kill(os.getpid(), stop)

    connected.on_server = on_server
    code, _, _ = invoke("bench", model, *COMPARE, "--out", str(tmp_path))
    assert code == EXIT_INTERRUPTED
    starts = [entry.replace("start", "stop") for entry in connected.log if "start" in entry]
    assert starts
    assert [entry for entry in connected.log if "stop" in entry] == starts


@pytest.mark.usefixtures("connected")
def test_earlier_results_are_not_overwritten(tmp_path: Path, model: str) -> None:
    assert invoke("bench", model, "--out", str(tmp_path))[0] == 0
    _, _, error = invoke("bench", model, "--out", str(tmp_path))
    assert isinstance(error, UsageError)
    assert "already holds results" in str(error)


def test_runs_are_appended_each_time_the_same_bench_is_asked_for(
    tmp_path: Path, connected: Bench, model: str
) -> None:
    for _ in range(3):
        assert invoke("bench", model, "--append", "--out", str(tmp_path))[0] == 0
    results = Results.load(tmp_path / RESULTS_FILE)
    assert [run.repeat for run in results.runs] == [1, 2, 3]
    assert len({run.started for run in results.runs}) == 3
    assert [step for step in connected.log if step.startswith("start")] == [
        "start cpu-1",
        "start cpu-2",
        "start cpu-3",
    ]


@pytest.mark.usefixtures("connected")
def test_runs_of_another_load_are_not_appended(tmp_path: Path, model: str) -> None:
    invoke("bench", model, "--append", "--out", str(tmp_path))
    _, _, error = invoke("bench", model, "--append", "--out", str(tmp_path), "--seed", "3")
    assert isinstance(error, UsageError)
    assert f"seed is 0 in {tmp_path} and 3 in this run" in str(error)
    assert len(Results.load(tmp_path / RESULTS_FILE).runs) == 1
    _, _, error = invoke("bench", model, "--append")
    assert "--append needs --out" in str(error)


@pytest.mark.usefixtures("connected")
def test_a_split_is_compared_with_one_cpu_rank_under_the_same_load(
    tmp_path: Path, model: str
) -> None:
    sizes = ("--concurrency", "2", "--input-len", "64", "--output-len", "32")
    code, _, _ = invoke(
        "bench", model, *COMPARE, *sizes, "--out", str(tmp_path), "--", "--seed", "7"
    )
    assert code == 0
    configurations = Results.load(tmp_path / RESULTS_FILE).configurations
    plan, baseline = configurations
    assert plan.plan is not None
    assert baseline.plan is not None
    assert (plan.plan.split, baseline.plan.split) == ((3, 5), (8,))
    assert plan.plan.workload == baseline.plan.workload
    for configuration in configurations:
        assert configuration.command.argv[-3:] == ("--no-enable-prefix-caching", "--seed", "7")
    assert len({c.command.port for c in configurations}) == 1


@pytest.mark.usefixtures("connected")
def test_the_context_leaves_room_for_prompts_that_come_out_longer(
    tmp_path: Path, model: str
) -> None:
    invoke("bench", model, "--out", str(tmp_path), "--input-len", "100", "--output-len", "20")
    (configuration,) = Results.load(tmp_path / RESULTS_FILE).configurations
    assert configuration.plan is not None
    assert configuration.plan.max_model_len == 184


@pytest.mark.parametrize("rate", ["0", "-1", "inf", "nan"])
def test_a_request_rate_must_be_positive(rate: str) -> None:
    _, _, error = invoke("bench", "org/m", f"--request-rate={rate}")
    assert isinstance(error, UsageError)


def test_report_makes_the_same_files_again(tmp_path: Path) -> None:
    sample.results().save(tmp_path / RESULTS_FILE)
    assert invoke("report", str(tmp_path))[0] == 0
    first = {name: (tmp_path / name).read_text() for name in REPORTS}
    for name in REPORTS[1:]:
        (tmp_path / name).unlink()
    assert invoke("report", str(tmp_path))[0] == 0
    assert {name: (tmp_path / name).read_text() for name in REPORTS} == first


def test_report_refuses_results_without_runs(tmp_path: Path) -> None:
    sample.blank().save(tmp_path / RESULTS_FILE)
    _, _, error = invoke("report", str(tmp_path))
    assert isinstance(error, UsageError)
    assert "no runs" in str(error)


TWO = sample.blank(sample.HYBRID, sample.CPU)


def progress_output(terminal: bool, script: Callable[[BenchProgress], None]) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with BenchProgress(TWO, console) as progress:
        script(progress)
        progress._bars.refresh()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def one_run(progress: BenchProgress) -> None:
    progress(Advanced("hybrid", 1, "server"))
    progress(Advanced("hybrid", 1, "server", detail="loading weights"))
    progress(Advanced("hybrid", 1, "load", 3, 9, point="c8"))
    progress(Advanced("hybrid", 1, "load", 4, 9, point="c8"))
    measurement: Measurement = sample.measurement(123)
    progress(Measured(sample.run("hybrid", 1, measurement), to_come(TWO)[1:]))
    failure = FailedRun(
        configuration="cpu", repeat=1, point=None, phase="server", reason="no [room]", log="x"
    )
    progress(Advanced("cpu", 1, "server"))
    progress(Failed(failure, ()))


def test_a_ci_log_has_a_line_per_phase_and_run_not_per_request() -> None:
    assert progress_output(False, one_run).splitlines() == [
        "hybrid #1: starting the server",
        "hybrid #1: sending the load",
        "hybrid #1: 123 output tok/s",
        "cpu #1: starting the server",
        "cpu #1 failed: no [room]",
    ]


def test_a_terminal_shows_runs_done_phase_and_time_left() -> None:
    def script(progress: BenchProgress) -> None:
        one_run(progress)
        progress._bars.refresh()
        progress(Advanced("cpu", 1, "load", 4, 9))

    text = progress_output(True, script)
    assert "2/2" in text
    assert "4/9" in text
    assert "left" in text

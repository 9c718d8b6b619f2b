"""``hetctl bench`` and ``hetctl report`` from the command line down to the files."""

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hetctl.bench import load, report
from hetctl.bench.compare import RESULTS_FILE
from hetctl.bench.events import Advanced, Failed, Measured
from hetctl.bench.results import FailedRun, Measurement, Results
from hetctl.bench.schedule import to_come
from hetctl.cli.app import app
from hetctl.cli.bench_progress import BenchProgress
from hetctl.errors import EXIT_INTERRUPTED, LaunchError, UsageError
from hetctl.evidence.store import kept
from hetctl.launch import preflight, server
from hetctl.machine import Machine
from hetctl.model.tiny import write_tiny
from hetctl.plan import Plan
from hetctl.probe import machine as probe
from hetctl.profiles import with_rates
from tests.bench import sample
from tests.bench.mock_server import MockServer
from tests.bench.test_compare import Bench
from tests.planner.machines import gpu

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


@pytest.fixture
def quick(connected: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same without reports, which take most of the time."""
    monkeypatch.setattr(report, "write_reports", lambda *_: ())
    return connected


COMPARE = ("--compare", "--split", "3,5", "--repeats", "1")


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


SWEEP = (*COMPARE, "--concurrency", "1,2", "--num-prompts", "8")


def stopped_sweep(folder: Path, connected: Bench, model: str) -> None:
    """Leaves the results of a sweep that was killed in its third run."""

    def on_load(loads: int) -> None:
        if loads == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    connected.on_load = on_load
    assert invoke("bench", model, *SWEEP, "--out", str(folder))[0] == EXIT_INTERRUPTED
    connected.on_load = lambda _: None
    connected.log.clear()


@pytest.mark.parametrize("whole_command", [False, True])
def test_a_stopped_sweep_goes_on_where_it_was(
    tmp_path: Path, quick: Bench, model: str, whole_command: bool
) -> None:
    stopped_sweep(tmp_path, quick, model)
    command = (model, *SWEEP) if whole_command else ()
    code, text, error = invoke("bench", *command, "--resume", str(tmp_path))
    assert code == 0, error
    assert quick.log == ["start cpu-1-2", "load cpu-c1-1", "load cpu-c2-1", "stop cpu-1-2"]
    results = Results.load(tmp_path / RESULTS_FILE)
    assert len(results.runs) == 4
    assert not results.interrupted
    assert "Output tok/s" in text
    # Nothing is left: the reports are made again, and no server is started.
    quick.log.clear()
    assert invoke("bench", "--resume", str(tmp_path))[0] == 0
    assert quick.log == []


def test_only_the_benchmark_that_was_begun_is_resumed(
    tmp_path: Path, quick: Bench, model: str
) -> None:
    stopped_sweep(tmp_path, quick, model)
    resume = ("--resume", str(tmp_path))
    assert "--repeats would change that" in refusal(*resume, "--repeats", "5")
    text = refusal(model, *SWEEP, "--seed", "3", *resume)
    assert f"seed is 0 in {tmp_path} and 3 in this run" in text
    text = refusal(model, *SWEEP, *resume, "--", "--enforce-eager")
    assert "the command of pipeline has nothing in" in text
    assert "leave out --out and --append" in refusal(model, *resume, "--out", "x")
    assert f"There is no folder {tmp_path / 'no'} to go on with" in refusal(
        "--resume", str(tmp_path / "no")
    )
    assert f"go on where it ended with --resume {tmp_path}" in refusal(
        model, *SWEEP, "--out", str(tmp_path)
    )
    assert quick.log == []


def test_a_server_that_runs_already_is_a_baseline(tmp_path: Path, quick: Bench, model: str) -> None:
    with MockServer(model="gguf", owner="llamacpp") as server:
        urls = ("--against", server.base_url)
        code, _, error = invoke("bench", model, *urls, "--repeats", "2", "--out", str(tmp_path))
    assert code == 0, error
    results = Results.load(tmp_path / RESULTS_FILE)
    assert [(run.configuration, run.repeat) for run in results.runs] == [
        (name, repeat) for repeat in (1, 2) for name in ("cpu", "llama.cpp")
    ]
    outside = results.runs_of("llama.cpp")[0]
    assert (outside.server_start_s, outside.server_log) == (0, None)
    assert [step for step in quick.log if step.startswith("start")] == [
        "start cpu-1",
        "start cpu-2",
    ]
    assert [load.seed for load in quick.sent] == [0, 0, 1000, 1000], "no cache helps the second"
    (body,) = {body["prompt"] for body in server.requests}
    assert body == "Hello", "asked for a token before each load"


def test_a_result_file_is_put_beside_what_was_measured(
    tmp_path: Path, quick: Bench, model: str
) -> None:
    file = tmp_path / "llama.jsonl"
    file.write_text(
        '{"pp": 64, "tg": 32, "pl": 2, "t_pp": 0.1, "t_tg": 0.4, "t": 0.5, "is_pp_shared": 0}'
    )
    load = ("--input-len", "64", "--output-len", "32", "--concurrency", "2")
    out = tmp_path / "out"
    assert invoke("bench", model, *load, "--out", str(out))[0] == 0
    quick.log.clear()
    code, text, error = invoke("bench", "--resume", str(out), "--import", f"llama.cpp={file}")
    assert code == 0, error
    assert quick.log == []
    assert "llama.cpp" in text
    assert [run.configuration for run in Results.load(out / RESULTS_FILE).runs] == [
        "cpu",
        "llama.cpp",
    ]


@pytest.mark.usefixtures("quick")
def test_a_baseline_that_does_not_answer_is_told_before_anything_is_measured(
    tmp_path: Path, model: str
) -> None:
    with MockServer() as server:
        gone = server.base_url
    _, _, error = invoke("bench", model, "--against", gone, "--out", str(tmp_path))
    assert isinstance(error, LaunchError)
    assert f"{gone}/v1/models cannot be reached" in str(error)
    assert not (tmp_path / RESULTS_FILE).exists()


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


def refusal(*args: str) -> str:
    _, _, error = invoke("bench", *args)
    assert isinstance(error, UsageError)
    return str(error)


@pytest.mark.parametrize("rate", ["0", "-1", "inf", "nan", "1,x", ""])
def test_a_request_rate_must_be_positive(rate: str) -> None:
    assert "is not one or more positive numbers" in refusal("org/m", f"--request-rate={rate}")


@pytest.mark.parametrize("concurrency", ["0", "1,-2", "1.5", "two", ""])
def test_a_concurrency_must_be_a_whole_number(concurrency: str) -> None:
    text = refusal("org/m", f"--concurrency={concurrency}")
    assert f"--concurrency {concurrency!r} is not one or more whole numbers" in text


def test_what_cannot_be_sent_is_refused_before_anything_is_planned() -> None:
    assert "are two sweeps" in refusal("org/m", "--concurrency", "1,2", "--request-rate", "1,2")
    assert "There is no workload 'x'" in refusal("org/m", "--workload", "x")
    assert "--burstiness must be a positive number" in refusal("org/m", "--burstiness", "0")
    assert "--e2el 0s must be more than 0" in refusal("org/m", "--e2el", "0s")
    assert "--baseline does not know 'x'" in refusal("org/m", "--baseline", "x")


@pytest.mark.usefixtures("quick")
def test_requests_longer_than_the_models_context_are_named(model: str) -> None:
    text = refusal(model, "--workload", "long-prompt")
    assert "The workload long-prompt has requests of 4,224 tokens" in text
    assert "tiny holds 2,048; lower --input-len or --output-len" in text
    text = refusal(model, "--workload", "chat", "--max-model-len", "100")
    assert "--max-model-len is 100; take --workload random with a shorter" in text


def test_a_sweep_runs_every_load_on_each_server_and_shows_the_curve(
    tmp_path: Path, connected: Bench, model: str
) -> None:
    code, text, _ = invoke(
        "bench", model, *COMPARE, "--concurrency", "4,1,2", "--full-sweep", "--out", str(tmp_path)
    )
    assert code == 0
    results = Results.load(tmp_path / RESULTS_FILE)
    assert [load.point for load in results.loads] == ["c1", "c2", "c4"]
    assert [(run.configuration, run.point) for run in results.runs] == [
        (name, point) for name in ("pipeline", "cpu") for point in ("c1", "c2", "c4")
    ]
    assert [step for step in connected.log if step.startswith("start")] == [
        "start pipeline-1",
        "start cpu-1",
    ]
    assert all((tmp_path / name).stat().st_size > 0 for name in REPORTS)
    assert "4 at a time" in text
    assert not results.stop_when_flat
    for configuration in results.configurations:
        assert configuration.plan is not None
        assert configuration.plan.workload.concurrency == 4, "planned for the heaviest load"


@pytest.mark.usefixtures("quick")
def test_limits_on_latency_count_for_goodput(tmp_path: Path, model: str) -> None:
    limits = ("--ttft", "2s", "--tpot", "80ms", "--e2el", "30s")
    invoke("bench", model, *limits, "--out", str(tmp_path))
    slo = Results.load(tmp_path / RESULTS_FILE).offered_load.slo
    assert slo.limits_s == {"ttft": 2, "tpot": 0.08, "e2el": 30}


@pytest.mark.usefixtures("quick")
def test_a_comparison_is_repeated_and_a_measurement_of_one_is_not(
    tmp_path: Path, model: str
) -> None:
    invoke("bench", model, "--out", str(tmp_path / "one"))
    invoke("bench", model, "--compare", "--out", str(tmp_path / "compare"))
    assert Results.load(tmp_path / "one" / RESULTS_FILE).repeats == 1
    assert Results.load(tmp_path / "compare" / RESULTS_FILE).repeats == 3


@pytest.mark.usefixtures("quick")
def test_baselines_that_cannot_run_here_say_why(tmp_path: Path, model: str) -> None:
    invoke("bench", model, "--split", "3,5", "--baseline", "gpu,cpu,auto", "--out", str(tmp_path))
    results = Results.load(tmp_path / RESULTS_FILE)
    assert [one.name for one in results.configurations] == ["pipeline", "cpu"]
    assert {one.name: one.reason for one in results.skipped} == {
        "gpu": "This machine has no GPU.",
        "auto": "It is the same as cpu: 8 layers on cpu.",
    }


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("devices", "chosen"),
    [(None, "cuda:2"), ("cpu,cuda:1", "cuda:1"), ("cpu,cuda:1,cuda:3", "cuda:3"), ("cpu", None)],
)
def test_the_gpu_alone_is_the_largest_of_those_that_may_be_used(
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    devices: str | None,
    chosen: str | None,
) -> None:
    """CUDA_VISIBLE_DEVICES hides the first."""
    gpus = tuple(gpu(index, gib) for index, gib in ((1, 24), (2, 80), (3, 48)))
    found = sample.machine().model_copy(update={"gpus": gpus})
    monkeypatch.setattr(probe, "probe_machine", lambda: found)
    named = () if devices is None else ("--devices", devices)
    split = ("--split", "none") if devices == "cpu" else ("--cpu-ranks", "1")
    options = (*named, *split, "--baseline", "gpu", "--out", str(tmp_path))
    assert invoke("bench", model, *options)[0] == 0
    results = Results.load(tmp_path / RESULTS_FILE)
    told = {one.name: one.reason for one in results.skipped}
    if chosen is None:
        assert told == {"gpu": "--devices cpu leaves out every GPU."}
        return
    plans = {one.name: one.plan for one in results.configurations}
    assert plans["gpu"] is not None, told
    assert plans["gpu"].devices == (chosen,)


@pytest.mark.usefixtures("quick")
def test_only_a_workload_of_shared_prefixes_has_the_prefix_cache(
    tmp_path: Path, model: str
) -> None:
    for workload, off in (("random", True), ("shared-prefix", False), ("chat", True)):
        out = tmp_path / workload
        code, _, _ = invoke("bench", model, "--workload", workload, "--out", str(out))
        assert code == 0
        results = Results.load(out / RESULTS_FILE)
        (configuration,) = results.configurations
        assert configuration.command is not None
        assert ("--no-enable-prefix-caching" in configuration.command.argv) is off
        assert list(out.glob("requests/*.jsonl")) == [
            out / f"requests/chat-{load.num_prompts}-seed0.jsonl"
            for load in results.loads
            if workload == "chat"
        ]


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


@pytest.mark.usefixtures("connected")
def test_plans_learn_from_the_benchmarks_of_their_machine(
    tmp_path: Path, model: str, machine: Machine, own_cache: Path
) -> None:
    load = ("--concurrency", "3", "--max-model-len", "1024")
    _, before, _ = invoke("plan", model, *load, "--json")
    raw = Plan.parse(before, "the plan").prediction
    for number in range(3):
        folder = str(tmp_path / str(number))
        one_each = ("--compare", "--repeats", "1", "--out", folder)
        assert invoke("bench", model, *load, *one_each)[0] == 0
    past = own_cache / "hetctl" / "runs" / f"{machine.fingerprint}.jsonl"
    assert len(past.read_text().splitlines()) == 3

    code, text, _ = invoke("plan", model, *load)
    assert code == 0
    assert "3 runs here under such a load" in " ".join(text.split())
    _, after, _ = invoke("plan", model, *load, "--json")
    corrected = Plan.parse(after, "the plan").prediction
    tpot = next(one for one in corrected.corrections if one.metric == "tpot")
    assert (tpot.runs, tpot.factor > 1) == (3, True)
    assert corrected.tpot_s == pytest.approx(raw.tpot_s * tpot.factor)
    assert corrected.uncorrected.tpot_s == pytest.approx(raw.tpot_s)

    _, plain, _ = invoke("plan", model, *load, "--json", "--no-corrections")
    assert Plan.parse(plain, "the plan").prediction.tpot_s == raw.tpot_s

    past.write_bytes(past.read_bytes()[:-40])
    code, text, _ = invoke("plan", model, *load)
    assert code == 0
    assert "line 3 was passed over" in " ".join(text.split())
    assert "a correction needs 3 runs" in " ".join(text.split())


@pytest.mark.usefixtures("connected")
def test_runs_that_are_appended_are_kept_once_each_as_a_session_of_its_own(
    tmp_path: Path, model: str, machine: Machine
) -> None:
    for _ in range(2):
        assert invoke("bench", model, "--append", "--out", str(tmp_path))[0] == 0
    runs = kept(machine.fingerprint).entries
    assert len({run.session for run in runs}) == len(runs) == 2


@pytest.mark.usefixtures("connected")
def test_a_past_that_cannot_be_kept_costs_no_results(
    tmp_path: Path, model: str, own_cache: Path
) -> None:
    (own_cache / "hetctl").write_text("not a folder")
    code, text, _ = invoke("bench", model, "--out", str(tmp_path))
    assert code == 0
    assert (tmp_path / "report.html").exists()
    assert "later plans will not know of this" in " ".join(text.split())


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

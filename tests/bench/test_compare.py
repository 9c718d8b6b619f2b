"""The order of runs, and that nothing measured is ever lost."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hetctl.bench import compare as compare_module
from hetctl.bench.compare import RESULTS_FILE, TimeLimits, compare
from hetctl.bench.events import Advanced, Event, Failed, Measured
from hetctl.bench.load import LoadTarget
from hetctl.bench.load_progress import LoadProgress
from hetctl.bench.results import Environment, Load, Measurement, Outside, Results
from hetctl.bench.schedule import to_come
from hetctl.bench.telemetry.record import read_record
from hetctl.errors import HetctlError, LaunchError
from tests.bench import sample


@dataclass
class Bench:
    """A fake server and load that write down what is asked of them."""

    log: list[str] = field(default_factory=list)
    fail_ready: tuple[str, ...] = ()
    fail_stop: tuple[str, ...] = ()
    on_load: Callable[[int], None] = lambda _: None
    on_server: Callable[[str], None] = lambda _: None
    loads: int = 0
    sent: list[Load] = field(default_factory=list)
    targets: list[LoadTarget] = field(default_factory=list)
    died: str = ""
    """Why the server that runs now is dead."""

    def server(self, _: object, log_file: Path) -> "FakeServer":
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.touch()
        return FakeServer(self, log_file.name.removesuffix(".log").replace("-server", ""))

    def load(
        self, load: Load, target: LoadTarget, on_progress: Callable[[LoadProgress], None], __: float
    ) -> Measurement:
        self.loads += 1
        self.sent.append(load)
        self.targets.append(target)
        self.log.append(f"load {target.result_file.stem}")
        self.died = ""
        on_progress(LoadProgress("load", 3, 9))
        self.on_load(self.loads)
        return sample.measurement()

    def compare(
        self, blank: Results, folder: Path, on_event: Callable[[Event], None] = lambda _: None
    ) -> Results:
        return compare(blank, folder, self.server, on_event, TimeLimits(), self.load)


@dataclass
class FakeServer:
    bench: Bench
    name: str
    base_url: str = "http://fake"
    pid: int | None = None

    def start(self) -> None:
        self.bench.on_server("start")
        self.bench.log.append(f"start {self.name}")

    def wait_ready(self, timeout_s: float, on_progress: Callable[[str], None]) -> None:
        on_progress("loading weights")
        self.bench.on_server("wait")
        if self.name.rpartition("-")[0] in self.bench.fail_ready:
            raise LaunchError("out of memory on cuda:0")

    def require_alive(self) -> None:
        if self.bench.died:
            raise LaunchError(self.bench.died)

    def stop(self) -> None:
        self.bench.on_server("stop")
        self.bench.log.append(f"stop {self.name}")
        if self.name.rpartition("-")[0] in self.bench.fail_stop:
            raise LaunchError("did not stop")


def two(**changes: object) -> Results:
    return sample.blank(sample.HYBRID, sample.CPU, **changes)


def names(results: Results) -> list[tuple[str, int]]:
    return [(run.configuration, run.repeat) for run in results.runs]


def test_configurations_take_turns_each_on_a_server_of_its_own(tmp_path: Path) -> None:
    bench = Bench()
    results = bench.compare(two(repeats=2), tmp_path)
    assert bench.log == [
        f"{step} {name}{'-c8' if step == 'load' else ''}-{repeat}"
        for repeat in (1, 2)
        for name in ("hybrid", "cpu")
        for step in ("start", "load", "stop")
    ]
    assert names(results) == [("hybrid", 1), ("cpu", 1), ("hybrid", 2), ("cpu", 2)]
    assert Results.load(tmp_path / RESULTS_FILE) == results


def test_a_run_tells_which_cpus_its_clients_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {sample.HYBRID.model_name: frozenset({7, 3})}
    outside = Outside(engine="e", model_name="m", url="http://h:1")
    elsewhere = sample.CPU.model_copy(update={"command": None, "outside": outside})
    monkeypatch.setattr(compare_module, "spare_cpus", lambda command: left[command.model_name])
    bench = Bench()
    results = bench.compare(sample.blank(sample.HYBRID, elsewhere), tmp_path)
    assert [run.client_cpus for run in results.runs] == [(3, 7), ()]
    assert [target.cpus for target in bench.targets] == [frozenset({3, 7}), frozenset()]


def test_runs_that_are_there_are_kept_and_not_measured_again(tmp_path: Path) -> None:
    first = Bench().compare(two(repeats=1), tmp_path)
    bench = Bench()
    results = bench.compare(first.model_copy(update={"repeats": 2}), tmp_path)
    assert [entry for entry in bench.log if entry.startswith("load")] == [
        "load hybrid-c8-2",
        "load cpu-c8-2",
    ]
    assert names(results) == [("hybrid", 1), ("cpu", 1), ("hybrid", 2), ("cpu", 2)]
    assert results.runs[:2] == first.runs
    assert results.duration_s >= first.duration_s
    assert Results.load(tmp_path / RESULTS_FILE) == results


def test_results_are_on_disk_after_every_run(tmp_path: Path) -> None:
    saved: list[int] = []

    def count(_: int) -> None:
        saved.append(len(Results.load(tmp_path / RESULTS_FILE).runs))

    Bench(on_load=count).compare(two(repeats=2), tmp_path)
    assert saved == [0, 1, 2, 3]


def test_an_interrupt_keeps_what_was_measured_and_stops_the_server(tmp_path: Path) -> None:
    def interrupt(loads: int) -> None:
        if loads == 2:
            raise KeyboardInterrupt

    bench = Bench(on_load=interrupt)
    results = bench.compare(two(repeats=3), tmp_path)
    assert results.interrupted
    assert names(results) == [("hybrid", 1)]
    assert bench.log[-1] == "stop cpu-1"
    assert Results.load(tmp_path / RESULTS_FILE) == results


def test_a_server_that_does_not_start_fails_alone_and_is_not_tried_again(tmp_path: Path) -> None:
    bench = Bench(fail_ready=("hybrid",))
    results = bench.compare(two(repeats=2), tmp_path)
    assert names(results) == [("cpu", 1), ("cpu", 2)]
    (failure,) = results.failed
    assert (failure.configuration, failure.phase) == ("hybrid", "server")
    assert failure.reason == "out of memory on cuda:0"
    assert failure.log == "logs/hybrid-1-server.log"
    assert bench.log.count("start hybrid-1") == bench.log.count("stop hybrid-1") == 1
    assert "start hybrid-2" not in bench.log


def test_a_load_that_fails_names_the_load_log(tmp_path: Path) -> None:
    def fail(loads: int) -> None:
        if loads == 1:
            raise HetctlError("None of the 32 requests succeeded.")

    results = Bench(on_load=fail).compare(two(), tmp_path)
    (failure,) = results.failed
    assert (failure.phase, failure.log) == ("load", "logs/hybrid-c8-1-load.log")
    assert names(results) == [("cpu", 1)]


def test_a_server_that_does_not_stop_does_not_lose_its_figures(tmp_path: Path) -> None:
    results = Bench(fail_stop=("hybrid",)).compare(two(), tmp_path)
    assert names(results) == [("hybrid", 1), ("cpu", 1)]
    assert results.failed[0].reason == "did not stop"


def test_nothing_measured_is_an_error_with_the_first_cause(tmp_path: Path) -> None:
    bench = Bench(fail_ready=("hybrid", "cpu"))
    with pytest.raises(HetctlError, match=r"hybrid failed first: out of memory on cuda:0 \(log: "):
        bench.compare(two(repeats=2), tmp_path)
    assert len(Results.load(tmp_path / RESULTS_FILE).failed) == 2


def test_events_tell_the_phases_of_a_run(tmp_path: Path) -> None:
    events: list[Event] = []
    results = Bench(fail_ready=("cpu",)).compare(two(), tmp_path, events.append)
    assert events == [
        Advanced("hybrid", 1, "server"),
        Advanced("hybrid", 1, "server", detail="loading weights"),
        Advanced("hybrid", 1, "load", 3, 9, point="c8"),
        Measured(results.runs[0], to_come(two())[1:]),
        Advanced("hybrid", 1, "stop"),
        Advanced("cpu", 1, "server"),
        Advanced("cpu", 1, "server", detail="loading weights"),
        Advanced("cpu", 1, "stop"),
        Failed(results.failed[0], ()),
    ]


C1, C2, C4, C8 = (Load(max_concurrency=count) for count in (1, 2, 4, 8))


def points(results: Results) -> list[tuple[str, int, str]]:
    return [(run.configuration, run.repeat, run.point) for run in results.runs]


def test_all_points_of_a_repeat_share_a_server(tmp_path: Path) -> None:
    bench = Bench()
    results = bench.compare(two(loads=(C1, C4), repeats=2), tmp_path)
    assert bench.log[:4] == [
        "start hybrid-1",
        "load hybrid-c1-1",
        "load hybrid-c4-1",
        "stop hybrid-1",
    ]
    assert bench.log[4] == "start cpu-1"
    assert points(results) == [
        (name, repeat, point)
        for repeat in (1, 2)
        for name in ("hybrid", "cpu")
        for point in ("c1", "c4")
    ]
    assert len({run.raw_result for run in results.runs}) == 8


def test_a_server_that_dies_under_a_load_costs_that_point_alone(tmp_path: Path) -> None:
    def die(loads: int) -> None:
        if loads == 2:
            bench.died = "The server died: killed by signal 9."
            raise HetctlError("None of the 32 requests succeeded.")

    bench = Bench(on_load=die)
    results = bench.compare(two(loads=(C1, C2, C4), repeats=2), tmp_path)
    assert points(results)[:3] == [("hybrid", 1, "c1"), ("hybrid", 1, "c4"), ("cpu", 1, "c1")]
    assert ("hybrid", 2, "c2") not in points(results), "what failed is not tried again"
    (failure,) = results.failed
    assert (failure.configuration, failure.repeat, failure.point) == ("hybrid", 1, "c2")
    assert (failure.phase, failure.reason) == ("server", "The server died: killed by signal 9.")
    assert failure.log == "logs/hybrid-1-server.log"
    assert bench.log.index("stop hybrid-1") < bench.log.index("start hybrid-1-2"), "a new server"
    assert results.runs[1].server_log == "logs/hybrid-1-server-2.log", "the old log is kept"


def test_figures_of_a_server_that_died_are_not_believed(tmp_path: Path) -> None:
    def die(loads: int) -> None:
        bench.died = "The server died." if loads == 1 else ""

    bench = Bench(on_load=die)
    results = bench.compare(two(), tmp_path)
    assert points(results) == [("cpu", 1, "c8")]
    assert results.failed[0].reason == "The server died."


def test_a_load_that_fails_leaves_the_server_to_the_next_point(tmp_path: Path) -> None:
    def fail(loads: int) -> None:
        if loads == 1:
            raise HetctlError("None of the 32 requests succeeded.")

    bench = Bench(on_load=fail)
    results = bench.compare(two(loads=(C1, C4)), tmp_path)
    assert bench.log[:4] == [
        "start hybrid-1",
        "load hybrid-c1-1",
        "load hybrid-c4-1",
        "stop hybrid-1",
    ]
    assert [(one.point, one.phase) for one in results.failed] == [("c1", "load")]


def test_a_flat_curve_ends_a_sweep_early_and_for_all_repeats(tmp_path: Path) -> None:
    loads = (C1, C2, C4, C8, Load(max_concurrency=16))
    for stop_when_flat, points_each in ((True, 3), (False, 5)):
        blank = two(loads=loads, repeats=2, stop_when_flat=stop_when_flat)
        results = Bench().compare(blank, tmp_path / str(stop_when_flat))
        assert [run.point for run in results.runs[:points_each]] == [
            load.point for load in loads[:points_each]
        ]
        assert len(results.runs) == 2 * 2 * points_each


def test_the_machine_is_sampled_beside_each_run(tmp_path: Path) -> None:
    bench = Bench(on_load=lambda _: time.sleep(0.05))
    blank = two().model_copy(update={"environment": no_gpu_environment()})
    for run in bench.compare(blank, tmp_path).runs:
        assert run.telemetry == f"telemetry/{run.configuration}-c8-1.csv"
        assert run.telemetry_digest is not None
        assert run.telemetry_digest.samples > 0
        assert run.telemetry_digest.cpu_load_mean is not None
        record = read_record(tmp_path / run.telemetry)
        assert list(dict.fromkeys(record.phases)) == ["idle", "prepare", "load"]


def no_gpu_environment() -> Environment:
    machine = sample.machine().model_copy(update={"gpus": ()})
    return sample.blank().environment.model_copy(update={"machine": machine})

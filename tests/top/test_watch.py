"""A server is looked at again and again, with what is known of its machine."""

import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from hetctl.errors import HetctlError
from hetctl.machine_profile import MachineProfile, Measured, NodeProfile
from hetctl.profiles.measured_file import profile_path
from hetctl.top.machine_use import MachineUse
from hetctl.top.page import NoAnswerError
from hetctl.top.watch import Watch
from tests.bench import sample
from tests.probe.fake_nvml import FakeNvml
from tests.top.pages import page
from tests.top.test_framing import record


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_rates_come_with_the_second_look_and_count_from_the_one_before() -> None:
    tokens = iter((10.0, 30.0, 30.0))

    def next_page(url: str) -> str:
        assert url == "http://h:1"
        return page({"vllm:generation_tokens_total": next(tokens)})

    watch = Watch("http://h:1", None, next_page)
    first, second, third = (watch.look() for _ in range(3))
    assert first.server.output_tokens_per_s is None
    assert second.interval_s is not None
    assert second.server.output_tokens_per_s == pytest.approx(20 / second.interval_s)
    assert third.server.output_tokens_per_s == 0


def test_a_look_that_fails_is_not_the_one_before() -> None:
    def refuse(url: str) -> str:
        raise NoAnswerError("gone")

    pages = iter((lambda url: page(), refuse, lambda url: page()))
    watch = Watch("http://h:1", None, lambda url: next(pages)(url))
    watch.look()
    with pytest.raises(NoAnswerError):
        watch.look()
    assert watch.look().interval_s is not None


def profile(node: NodeProfile) -> MachineProfile:
    return MachineProfile(
        machine_fingerprint="f00d",
        measured_at=datetime(2026, 1, 1, tzinfo=UTC),
        tool_versions={},
        numa_nodes=(node,),
    )


RANK = {
    "steps_total": 0.0,
    "layers_seconds_total": 0.0,
    "layer_weight_read_bytes_total": 0.0,
}


def test_a_measured_machine_gives_the_share_of_its_memory_s_rate() -> None:
    rate = Measured(median=50e9, low=49e9, high=51e9, samples=5)
    node = NodeProfile(numa_node=0, threads=4, memory_read_bytes_per_s=rate)
    profile(node).save(profile_path("f00d"))
    later = {"steps_total": 1.0, "layers_seconds_total": 0.5}
    later["layer_weight_read_bytes_total"] = 10e9
    pages = iter((page(ranks={0: RANK}), page(ranks={0: later})))
    watch = Watch("http://h:1", record(sample.cpu_plan()), lambda url: next(pages))
    assert watch.look().ranks[0].memory_read_share is None
    assert watch.look().ranks[0].memory_read_share == pytest.approx(20 / 50)
    watch.close()


def test_measurements_that_cannot_be_read_are_said_and_do_no_harm() -> None:
    path = profile_path("f00d")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    frame = Watch("http://h:1", record(sample.cpu_plan()), lambda url: page()).look()
    assert "hetctl probe --calibrate" in frame.notes[0]


def test_what_is_no_page_of_a_vllm_server_is_refused() -> None:
    with pytest.raises(HetctlError, match="is it a vLLM server"):
        Watch("http://h:1", None, lambda url: "up 1\n").look()


def test_this_machine_tells_the_load_of_a_rank_s_cpus_and_gpu() -> None:
    mine = sample.rank(0, "cpu", (0, 8), 32)
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    mine = mine.model_copy(update={"cpus": cpus})
    plan = sample.plan(mine, sample.rank(1, "cuda:0", (8, 32), 22))
    gpu = {
        "MemoryInfo": SimpleNamespace(total=100, free=30, used=70),
        "UtilizationRates": SimpleNamespace(gpu=97, memory=41),
    }
    machine = MachineUse(plan, FakeNvml(gpu))
    end = os.times().user + 0.2
    while os.times().user < end:
        pass
    use = machine.read()
    assert 0.0 < use.loads[0] <= 1.0
    assert use.loads[1] == 0.97
    assert use.gpu_memory_bytes == {1: 70}
    machine.close()


def test_a_rank_whose_cpus_are_not_named_has_no_load() -> None:
    unpinned = sample.rank(0, "cpu", (0, 32), 32).model_copy(update={"cpus": ()})
    machine = MachineUse(sample.plan(unpinned, strategy="cpu"))
    assert machine.read().loads == {}
    machine.close()

"""Two readings become the rates, means and shares that they stand for."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hetctl.errors import HetctlError
from hetctl.plan import Plan
from hetctl.server_record import ServerRecord
from hetctl.top.frame import Frame
from hetctl.top.framing import Subject, frame_of
from hetctl.top.machine_use import Use
from hetctl.top.reading import Reading
from hetctl.top.samples import Samples
from tests.bench import sample
from tests.top.pages import samples

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STARTED_S = NOW.timestamp() - 3600
SUBJECT = Subject("http://h:1")
NO_USE = Use()


def record(plan: Plan | None = None) -> ServerRecord:
    return ServerRecord(
        pid=1,
        pid_created_s=1.0,
        started=datetime(2026, 1, 1, 11, 30, tzinfo=UTC),
        base_url="http://h:1",
        model_name="served",
        plan=plan or sample.hybrid_plan(),
        log=Path("log"),
    )


def between(
    before: Samples,
    now: Samples,
    seconds: float = 2.0,
    subject: Subject = SUBJECT,
    use: Use = NO_USE,
) -> Frame:
    return frame_of(subject, Reading(10.0, before), Reading(10.0 + seconds, now, use), NOW)


def grown(metrics: Mapping[str, float], **by: float) -> dict[str, float]:
    return {name: value + by.get(name, 0.0) for name, value in metrics.items()}


def test_the_server_as_a_whole() -> None:
    before = samples(
        {
            "vllm:prompt_tokens_total": 100.0,
            "vllm:time_to_first_token_seconds_sum": 7.0,
            "vllm:time_to_first_token_seconds_count": 9.0,
        }
    )
    now = samples(
        {
            "vllm:num_requests_running": 3.0,
            "vllm:num_requests_waiting": 2.0,
            "vllm:kv_cache_usage_perc": 0.25,
            "vllm:prompt_tokens_total": 180.0,
            "vllm:generation_tokens_total": 50.0,
            "vllm:time_to_first_token_seconds_sum": 8.0,
            "vllm:time_to_first_token_seconds_count": 13.0,
        }
    )
    frame = between(before, now)
    server = frame.server
    assert (frame.interval_s, frame.taken) == (2.0, NOW)
    assert (server.url, server.model, server.strategy) == ("http://h:1", "tiny", None)
    assert (server.requests_running, server.requests_waiting) == (3, 2)
    assert server.kv_cache_used == 0.25
    assert server.prompt_tokens_per_s == 40
    assert server.output_tokens_per_s == 25
    assert server.ttft_mean_s == 0.25
    assert server.tpot_mean_s is None  # No token came after another one.
    assert server.uptime_s == NOW.timestamp() - 1000
    assert frame.ranks == ()
    assert frame.notes == ("This server has no metrics of ranks; one with CPU ranks has them.",)


def test_the_first_look_has_no_rates_and_neither_has_one_after_a_restart() -> None:
    busy = samples({"vllm:generation_tokens_total": 50.0}, {0: {"steps_total": 9.0}})
    first = frame_of(SUBJECT, None, Reading(1.0, busy), NOW)
    assert (first.interval_s, first.server.output_tokens_per_s) == (None, None)
    assert first.ranks[0].time is None
    for restarted in (
        samples({"vllm:generation_tokens_total": 60.0}, {0: {"steps_total": 9.0}}, started_s=2000),
        samples({"vllm:generation_tokens_total": 10.0}, {0: {"steps_total": 9.0}}),
        samples({"vllm:generation_tokens_total": 50.0}, {0: {"steps_total": 1.0}}),
    ):
        assert between(busy, restarted).interval_s is None


RANK = {
    "steps_total": 10.0,
    "step_tokens_total": 100.0,
    "step_call_seconds_total": 5.0,
    "layers_seconds_total": 2.0,
    "head_seconds_total": 1.0,
    "layer_weight_read_bytes_total": 1e9,
    "hop_receive_seconds_total": 1.0,
    "process_cpu_seconds_total": 50.0,
    "process_resident_memory_bytes": 3e9,
    "weight_bytes": 2e9,
    "kv_cache_bytes": 1e9,
    "step_running_seconds": 0.0,
}
LATER = grown(
    RANK,
    steps_total=4,
    step_tokens_total=32,
    step_call_seconds_total=1.6,
    layers_seconds_total=0.8,
    head_seconds_total=0.2,
    layer_weight_read_bytes_total=40e9,
    hop_receive_seconds_total=0.4,
    process_cpu_seconds_total=3,
)
TWO_CPUS = {0: {"cpus": "4-5", "layers": "8-31", "numa_node": "1"}}


def test_a_rank_with_what_it_did_per_step_and_second() -> None:
    subject = Subject("http://h:1", memory_read_bytes_per_s={1: 100e9})
    before, now = (samples(ranks={0: rank}, places=TWO_CPUS) for rank in (RANK, LATER))
    (rank,) = between(before, now, subject=subject).ranks
    assert (rank.rank, rank.device, rank.numa_node) == (0, "cpu", 1)
    assert (rank.cpus, rank.layers) == ("4-5", "8-31")
    assert rank.steps_per_s == 2
    assert rank.tokens_per_step == 8
    assert rank.layers_s == pytest.approx(0.2)
    assert rank.head_s == pytest.approx(0.05)
    assert rank.weight_read_bytes_per_s == pytest.approx(50e9)
    assert rank.memory_read_share == pytest.approx(0.5)
    # Three seconds of CPU time in two seconds on two CPUs.
    assert rank.load == pytest.approx(0.75)
    assert (rank.weight_bytes, rank.kv_cache_bytes) == (2_000_000_000, 1_000_000_000)
    assert (rank.memory_bytes, rank.memory_limit_bytes) == (3_000_000_000, None)
    assert rank.step_running_s == 0
    assert rank.time is not None
    shares = rank.time
    assert (shares.layers, shares.head) == (pytest.approx(0.4), pytest.approx(0.1))
    assert (shares.receiving, shares.sending) == (pytest.approx(0.2), 0)
    assert shares.other == pytest.approx(0.1)
    assert shares.works == pytest.approx(0.6)
    assert shares.idle == pytest.approx(0.2)


def test_a_rank_without_a_step_has_no_figures_of_one() -> None:
    told = samples(ranks={0: RANK})
    (rank,) = between(told, told).ranks
    assert rank.steps_per_s == 0
    assert rank.layers_s is rank.tokens_per_step is rank.weight_read_bytes_per_s is None
    assert rank.time is not None
    assert rank.time.idle == 1


def test_the_plan_names_devices_and_limits_and_the_machine_tells_the_load() -> None:
    server = Subject("http://h:1", record())
    gpu = {1: {"device": "cuda:0", "numa_node": "", "cpus": "", "layers": "8-31"}}
    told = samples(
        ranks={0: RANK, 1: {"steps_total": 1.0, "gpu_memory_used_bytes": 5.0}}, places=gpu
    )
    plan = sample.plan(sample.rank(0, "cpu", (0, 8), 32), sample.rank(1, "cuda:3", (8, 32), 22))
    server = Subject("http://h:1", record(plan))
    frame = between(told, told, subject=server, use=Use({0: 0.5, 1: 0.9}, {1: 7.0}))
    cpu_rank, gpu_rank = frame.ranks
    assert (frame.server.model, frame.server.strategy) == ("served", "pipeline")
    assert frame.server.uptime_s == 1800
    assert (cpu_rank.load, gpu_rank.load) == (0.5, 0.9)
    assert gpu_rank.device == "cuda:3"  # As nvidia-smi numbers it.
    assert gpu_rank.memory_bytes == 7
    assert cpu_rank.memory_limit_bytes == 32 << 30
    assert frame.notes == ()


def test_ranks_that_do_not_tell_are_those_of_the_plan() -> None:
    plan = sample.plan(sample.rank(0, "cuda:1", (0, 32), 22), strategy="gpu")
    frame = between(
        samples(),
        samples(),
        subject=Subject("http://h:1", record(plan)),
        use=Use({0: 0.25}, {0: 9}),
    )
    (rank,) = frame.ranks
    assert (rank.device, rank.layers, rank.load, rank.memory_bytes) == ("cuda:1", "0-31", 0.25, 9)
    assert rank.time is None
    assert frame.where_time_goes == ""
    assert "vLLM's own" in frame.notes[0]


def test_a_page_without_vllm_s_metrics_is_of_no_vllm_server() -> None:
    with pytest.raises(HetctlError, match="http://h:1 shows none of vLLM's metrics"):
        frame_of(SUBJECT, None, Reading(1.0, Samples({})), NOW)


@pytest.mark.parametrize("cpus", ["0-99999999999999", "x", "5-3", "-", ""])
def test_cpus_are_counted_however_many_a_server_names(cpus: str) -> None:
    places = {0: {"cpus": cpus}}
    before, now = (samples(ranks={0: rank}, places=places) for rank in (RANK, LATER))
    (rank,) = between(before, now).ranks
    assert rank.load is None or rank.load < 1e-9


def test_a_frame_is_a_document_that_can_be_read_again() -> None:
    frame = between(samples(ranks={0: RANK}), samples(ranks={0: LATER}))
    assert Frame.parse(frame.to_json(), "here") == frame
    assert '"kind": "hetctl.server_frame"' in frame.to_json()

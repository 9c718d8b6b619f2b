"""One GPU rank and one CPU rank in one engine, in both orders."""

import signal
from pathlib import Path

import pytest

from hetctl.top.page import metrics_page
from hetctl.top.samples import parse
from tests.e2e.engine import ServeProcess, left_behind, shared_memory
from tests.gpu.conftest import DEMO, TOKENS, completions, with_tiled_weights

pytestmark = pytest.mark.gpu

LARGE = (
    "--max-model-len 2048 --concurrency 8 --input-len 512 --output-len 64 -- --load-format tiled"
)


@pytest.mark.parametrize("devices", ["cuda:0,cpu", "cpu,cuda:0"])
def test_the_demo_model_gives_the_tokens_of_the_gpu_alone(
    devices: str,
    demo_model: Path,
    prompts: list[list[int]],
    gpu_only_tokens: list[list[int]],
    tmp_path: Path,
) -> None:
    before = shared_memory()
    log = tmp_path / "log"
    options = (f"--split 3,5 --devices {devices}", DEMO)
    with ServeProcess(demo_model, options, log) as server:
        tokens = completions(server, prompts)
        both_ranks_tell_what_they_did(server, devices.split(","))
        assert server.end(signal.SIGTERM) == 0
    assert tokens == gpu_only_tokens
    said = log.read_text()
    assert "FLASH_ATTN" in said
    assert "CPU_ATTN" in said
    assert "Graph capturing finished" in said
    assert left_behind(server, before) == []


def both_ranks_tell_what_they_did(server: ServeProcess, devices: list[str]) -> None:
    url = f"http://127.0.0.1:{server.port}"
    page = parse(metrics_page(url), url)

    def told(name: str) -> dict[int, float]:
        return page.of_ranks(f"vllm_hetero_{name}")

    labels = page.labels_of_ranks("vllm_hetero_steps_total")
    assert [labels[rank]["device"] for rank in (0, 1)] == devices
    steps = told("steps_total")
    assert steps[0] == steps[1] >= TOKENS
    # A GPU pads what it sends to the size of a graph.
    assert told("hop_received_bytes_total")[1] == told("hop_sent_bytes_total")[0] > 0
    for rank in (0, 1):
        assert 0 < told("layers_seconds_total")[rank] < told("step_call_seconds_total")[rank] + 1
        assert told("last_step_layer_weight_read_bytes_per_second")[rank] > 0
    assert told("head_seconds_total")[1] > told("head_seconds_total")[0] == 0
    gpu = devices.index("cuda:0")
    used, total = told("gpu_memory_used_bytes"), told("gpu_memory_total_bytes")
    assert 0 < told("gpu_memory_allocated_bytes")[gpu] <= told("gpu_memory_reserved_bytes")[gpu]
    assert told("gpu_memory_reserved_bytes")[gpu] < used[gpu] < total[gpu]
    assert list(used) == [gpu]


@pytest.mark.parametrize(("devices", "split"), [("cuda:0,cpu", "28,4"), ("cpu,cuda:0", "4,28")])
def test_an_8b_model_runs(devices: str, split: str, llama_8b: Path, tmp_path: Path) -> None:
    options = (f"--split {split} --devices {devices}", LARGE)
    with ServeProcess(llama_8b, options, tmp_path / "log", with_tiled_weights()) as server:
        long = [list(range(1, 900)), [5, 6, 7]]
        assert [len(tokens) for tokens in completions(server, long)] == [TOKENS, TOKENS]

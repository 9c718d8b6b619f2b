"""What a real pipeline of two CPU ranks tells of itself, against what it was asked to do."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hetctl.launch.dashboard import grafana_dashboard
from hetctl.top.frame import Frame
from hetctl.top.page import metrics_page
from hetctl.top.samples import Samples, parse
from tests.e2e.engine import ServeProcess
from tests.launch.dashboard_queries import metric_names, queries
from vllm_hetero.metrics.catalogue import METRICS

pytestmark = pytest.mark.engine

SPLIT = (3, 5)
OPTIONS = (
    "--split 3,5 --cpu-ranks 2 --dtype float32 --max-model-len 512 --concurrency 8 "
    "--input-len 128 --output-len 32"
)
TOKENS = 24
FLOAT32_BYTES = 4
WAIT_S = 30


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's folder for temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(
    demo_model: Path, temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    log = tmp_path_factory.mktemp("metrics") / "log"
    with ServeProcess(demo_model, (OPTIONS,), log, {"TMPDIR": str(temporary)}) as server:
        yield server


def read(server: ServeProcess) -> Samples:
    """The metrics, once nothing runs."""
    url = f"http://127.0.0.1:{server.port}"
    deadline = time.monotonic() + WAIT_S
    while True:
        samples = parse(metrics_page(url), url)
        if not samples.total("vllm:num_requests_running"):
            return samples
        assert time.monotonic() < deadline
        time.sleep(0.1)


def complete_all(server: ServeProcess, prompts: list[list[int]]) -> None:
    with ThreadPoolExecutor(len(prompts)) as pool:
        for answer in pool.map(lambda prompt: server.complete(prompt, TOKENS), prompts):
            assert len(answer) == TOKENS


@contextmanager
def loaded(server: ServeProcess, prompts: list[list[int]]) -> Iterator[None]:
    """The server answers one request after the other while the block runs."""
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            complete_all(server, prompts)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            enough.set()
        asking.result()


def layer_weight_bytes(model: Path) -> list[int]:
    """In float32, of each stage's layers and, on the last one, the norm behind them."""
    with (model / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    sizes = [0, 0]
    for name, tensor in header.items():
        if name.startswith("model.layers."):
            stage = int(name.split(".")[2]) >= SPLIT[0]
        elif name == "model.norm.weight":
            stage = True
        else:
            continue
        sizes[stage] += prod(tensor["shape"]) * FLOAT32_BYTES
    return sizes


def test_counters_agree_with_each_other_and_with_what_was_asked(
    server: ServeProcess, prompts: list[list[int]], demo_model: Path
) -> None:
    before = read(server)
    short = [prompt[:100] for prompt in prompts[:8]]
    complete_all(server, short)
    now = read(server)

    def grown(name: str) -> list[float]:
        metric = f"vllm_hetero_{name}_total"
        was, found = before.of_ranks(metric), now.of_ranks(metric)
        return [found[rank] - was[rank] for rank in sorted(found)]

    def told(name: str) -> list[float]:
        return [value for _, value in sorted(now.of_ranks(f"vllm_hetero_{name}").items())]

    first, last = grown("steps")
    assert first == last >= TOKENS
    # The last token of a request is not fed back. Prompts are shorter than a block of the cache.
    fed = sum(map(len, short)) + len(short) * (TOKENS - 1)
    assert grown("step_tokens") == [fed, fed]
    assert now.total("vllm:prefix_cache_hits_total") == 0
    config = json.loads((demo_model / "config.json").read_text())
    # Hidden states and residual.
    message_bytes = fed * 2 * config["hidden_size"] * FLOAT32_BYTES
    assert grown("hop_sent_bytes") == grown("hop_received_bytes") == [message_bytes]
    weights = layer_weight_bytes(demo_model)
    assert grown("layer_weight_read_bytes") == [size * first for size in weights]

    calls_s, layers_s, head_s = (
        grown(f"{what}_seconds") for what in ("step_call", "layers", "head")
    )
    (receiving_s,), (sending_s,) = grown("hop_receive_seconds"), grown("hop_send_seconds")
    assert head_s[0] == 0 < head_s[1]
    assert 0 < layers_s[0] < calls_s[0]
    assert 0 < layers_s[1] + head_s[1] + receiving_s < calls_s[1]
    assert 0 < sending_s < calls_s[0]
    seconds = told("last_step_layers_seconds")
    assert told("last_step_layer_weight_read_bytes_per_second") == [
        pytest.approx(size / s) for size, s in zip(weights, seconds, strict=True)
    ]
    assert told("step_running_seconds") == [0, 0]


def test_memory_is_what_the_ranks_report_elsewhere(server: ServeProcess) -> None:
    now = read(server)
    reported = json.loads(server.log.with_suffix(".memory.json").read_text())["ranks"]
    for rank, memory in enumerate(reported):
        for name in ("weight_bytes", "kv_cache_bytes"):
            assert now.of_ranks(f"vllm_hetero_{name}")[rank] == memory[name]
        resident = now.of_ranks("vllm_hetero_process_resident_memory_bytes")[rank]
        process = server.ranks()[rank]
        assert resident == pytest.approx(process.memory_info().rss, rel=0.2)
        # The process's time since its start, of which this test saw all.
        cpu_s = now.of_ranks("vllm_hetero_process_cpu_seconds_total")[rank]
        times = process.cpu_times()
        assert 1 < cpu_s <= times.user + times.system
    labels = now.labels_of_ranks("vllm_hetero_rank_info")
    assert [labels[rank]["layers"] for rank in (0, 1)] == ["0-2", "3-7"]
    assert {labels[rank]["device"] for rank in (0, 1)} == {"cpu"}


def test_the_dashboard_asks_for_what_a_server_has(server: ServeProcess) -> None:
    families = text_string_to_metric_families(metrics_page(f"http://127.0.0.1:{server.port}"))
    page = {sample.name for family in families for sample in family.samples}
    asked = {
        name for query in queries(json.loads(grafana_dashboard())) for name in metric_names(query)
    }
    of_gpus = {metric.name for metric in METRICS if "_gpu_" in metric.name}
    assert {name for name in asked if name.startswith("vllm:")} <= page
    assert asked - page <= of_gpus
    assert {metric.name for metric in METRICS} - page == of_gpus


def test_top_shows_what_the_ranks_do(server: ServeProcess, prompts: list[list[int]]) -> None:
    command = [sys.executable, "-m", "hetctl", "top", f"http://127.0.0.1:{server.port}"]
    with loaded(server, prompts[:8]):
        as_json, once = (
            subprocess.run(
                [*command, option, "--interval", "0.5"], capture_output=True, text=True, check=True
            ).stdout
            for option in ("--json", "--once")
        )
    frame = Frame.parse(as_json, "stdout")
    assert frame.server.output_tokens_per_s
    assert [rank.layers for rank in frame.ranks] == ["0-2", "3-7"]
    for rank in frame.ranks:
        assert rank.time is not None
        assert rank.time.works > 0
        assert rank.tokens_per_step is not None
        assert rank.tokens_per_step >= 1
        assert rank.weight_read_bytes_per_s
        assert rank.load
        assert rank.memory_bytes
    assert "works" in frame.where_time_goes
    assert "rank 0  L" in once
    assert "rank 1  L" in once


def test_a_server_that_is_killed_leaves_no_folder(server: ServeProcess, temporary: Path) -> None:
    (folder,) = temporary.glob("hetctl-*/vllm_hetero-metrics-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in folder.iterdir()} == {"rank-0", "rank-1", "ranks.json"}
    leader = server.descendants[0]
    os.kill(leader.pid, signal.SIGKILL)
    assert server.process.wait(60) == 1
    assert not list(temporary.glob("*hetctl-*"))
    assert not list(temporary.glob("**/vllm_hetero*"))

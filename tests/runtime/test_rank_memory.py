"""The report of what each rank holds: which figures, from where, and when it is written."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vllm_hetero.rank_memory import (
    SCHEMA,
    RankMemory,
    cpu_use,
    note_graph_memory,
    rank_memory,
    write_report,
)

MIB = 1 << 20


def worker(**changes: Any) -> SimpleNamespace:
    """A rank on a CPU, ready, as far as its memory is concerned."""
    sizes = [SimpleNamespace(size=size) for size in (3 * MIB, 5 * MIB)]
    runner = SimpleNamespace(
        device=SimpleNamespace(type="cpu"),
        kv_cache_config=SimpleNamespace(kv_cache_tensors=sizes, num_blocks=16),
        model_memory_usage=7 * MIB,
    )
    model = SimpleNamespace(get_layers_start_end_indices=lambda parallel: (4, parallel + 4))
    fields = {"rank": 1, "model_runner": runner, "model_config": model, "parallel_config": 8}
    return SimpleNamespace(**(fields | changes))


def test_a_cpu_rank_reports_its_own_process() -> None:
    found = rank_memory(worker(weight_bytes=9 * MIB, second_copy_bytes=MIB))
    assert isinstance(found, RankMemory)
    assert (found.rank, found.device, found.layers, found.pid) == (1, "cpu", (4, 12), os.getpid())
    assert (found.kv_cache_bytes, found.kv_cache_blocks) == (8 * MIB, 16)
    assert (found.weight_bytes, found.second_copy_bytes) == (9 * MIB, MIB)
    assert 10 * MIB < found.used_bytes <= found.peak_bytes < 100 << 30
    assert found.activation_bytes is found.cuda_graph_bytes is found.non_torch_bytes is None


def test_a_worker_of_vllms_own_reports_what_vllm_measured() -> None:
    found = rank_memory(worker(peak_activation_memory=2 * MIB, non_torch_memory=MIB))
    assert isinstance(found, RankMemory)
    assert (found.weight_bytes, found.activation_bytes, found.non_torch_bytes) == (
        7 * MIB,
        2 * MIB,
        MIB,
    )


def test_a_gpu_rank_counts_from_its_context_on_and_with_its_largest_reservation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    stats = {"reserved_bytes.all.peak": 50 * MIB, "reserved_bytes.all.current": 45 * MIB}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20 * MIB, 100 * MIB))
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: stats)
    rank = worker(init_snapshot=SimpleNamespace(free_memory=90 * MIB))
    rank.model_runner.device = torch.device("cuda", 1)
    found = rank_memory(rank)
    assert isinstance(found, RankMemory)
    assert found.device == "cuda:1"
    assert (found.used_bytes, found.peak_bytes) == (70 * MIB, 75 * MIB)
    assert found.device_free_bytes == 20 * MIB


def test_what_capturing_graphs_takes_is_kept_and_returned() -> None:
    rank = worker()
    rank.model_runner.capture_model = lambda: 6 * MIB
    note_graph_memory(rank)
    assert rank.model_runner.capture_model() == 6 * MIB
    found = rank_memory(rank)
    assert isinstance(found, RankMemory)
    assert found.cuda_graph_bytes == 6 * MIB


def test_a_rank_that_cannot_tell_says_why() -> None:
    found = rank_memory(SimpleNamespace(rank=3))
    assert isinstance(found, str)
    assert "rank 3 cannot tell: AttributeError" in found


def test_pages_of_files_are_not_a_processes_own(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx y: z\nVmHWM:\t  900 kB\nVmRSS:\t  700 kB\nRssFile:\t  200 kB\n")
    assert cpu_use(status) == {"used_bytes": 500 << 10, "peak_bytes": 700 << 10}


def test_the_report_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    rank = RankMemory(0, "cpu", 1, (0, 8), 5, 6, 7)
    write_report(path, [rank])
    document = json.loads(path.read_text())
    assert document["schema"] == SCHEMA
    assert document["ranks"][0]["layers"] == [0, 8]
    assert [entry.name for entry in tmp_path.iterdir()] == ["memory.json"]


@pytest.mark.parametrize(
    ("answers", "file", "logged"),
    [
        ([RankMemory(0, "cpu", 1, (0, 8), 5, 6, 7)], "memory.json", ""),
        ([RankMemory(0, "cpu", 1, (0, 8), 5, 6, 7), "rank 1 cannot tell"], "memory.json", "rank 1"),
        ([RankMemory(0, "cpu", 1, (0, 8), 5, 6, 7)], "absent/memory.json", "No such file"),
    ],
)
def test_the_engine_writes_it_once_all_ranks_are_ready(
    answers: list[Any], file: str, logged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vllm")
    from vllm.v1.executor.abstract import Executor

    from vllm_hetero.patches import memory_report

    calls: list[str] = []
    warnings: list[str] = []

    def became_ready(self: Executor, kv_cache_configs: list[Any]) -> None:
        calls.append(f"ready with {kv_cache_configs}")

    class Engine:
        def collective_rpc(self, method: Any) -> list[Any]:
            calls.append(method.__name__)
            return answers

    monkeypatch.setattr(Executor, "initialize_from_config", became_ready)
    monkeypatch.setattr(
        memory_report.logger, "warning", lambda text, *args: warnings.append(text % args)
    )
    memory_report.apply(tmp_path / file)
    memory_report.apply(tmp_path / "another.json")
    Executor.initialize_from_config(Engine(), ["config"])
    assert calls == ["note_graph_memory", "ready with ['config']", "rank_memory"]
    assert [entry.name for entry in tmp_path.iterdir()] == ([] if logged else [file])
    assert [logged in warning for warning in warnings] == ([True] if logged else [])

"""Every strategy that a plan may choose, started by ``hetctl serve`` on one GPU and the CPU.

Each start takes about a minute: choose with ``-k``, such as ``-k "demo and mixed"``.
"""

from dataclasses import dataclass
from pathlib import Path

import pynvml
import pytest

from hetctl.cli.plan_options import inputs_from_options
from hetctl.plan import Offload, Plan, PrefetchOffload, Strategy, UvaOffload
from hetctl.units import GIB
from tests.e2e.engine import ServeProcess, left_behind, shared_memory
from tests.gpu.conftest import completions, with_tiled_weights

pytestmark = pytest.mark.gpu

UVA = UvaOffload(gib_per_gpu=0.25)
PREFETCH = PrefetchOffload(group_size=2, num_in_group=1)

# The demo model fits any GPU, so the plans that stream are made from those that do not.
DEMO: list[tuple[str, dict[str, str], Strategy, Offload | None, str]] = [
    ("gpu", {"strategy": "gpu", "devices": "cuda:0"}, "gpu", None, "FLASH_ATTN"),
    ("uva", {"strategy": "gpu", "devices": "cuda:0"}, "uva", UVA, "Total CPU offloaded"),
    ("prefetch", {"strategy": "gpu", "devices": "cuda:0"}, "prefetch", PREFETCH, "Initialized 4"),
    ("gpu-first", {"split": "5,3", "devices": "cuda:0,cpu"}, "pipeline", None, "CPU_ATTN"),
    ("cpu-first", {"split": "3,5", "devices": "cpu,cuda:0"}, "pipeline", None, "CPU_ATTN"),
    (
        "pipeline-uva",
        {"split": "3,5", "devices": "cpu,cuda:0"},
        "pipeline-uva",
        UVA,
        "Total CPU offloaded",
    ),
    (
        "pipeline-prefetch",
        {"split": "3,5", "devices": "cpu,cuda:0"},
        "pipeline-prefetch",
        PREFETCH,
        "Initialized 2",
    ),
    (
        "pipeline-prefetch-gpu-first",
        {"split": "5,3", "devices": "cuda:0,cpu"},
        "pipeline-prefetch",
        PREFETCH,
        "Initialized 2",
    ),
    ("mixed-tp", {"strategy": "mixed-tp", "devices": "cuda:0,cpu"}, "mixed-tp", None, "CPU_ATTN"),
]


@dataclass
class PlannedProcess(ServeProcess):
    """``hetctl serve --plan FILE``."""

    plan_file: Path = Path()

    def command(self) -> list[str]:
        command = super().command()
        command[command.index(str(self.model))] = f"--plan={self.plan_file}"
        return command


def demo_plan(
    model: Path, options: dict[str, str], strategy: Strategy, offload: Offload | None
) -> Plan:
    planned = inputs_from_options(
        str(model),
        cpu_ranks=None if "cpu" in options["devices"] else 0,
        max_model_len=1024,
        concurrency=16,
        input_len=256,
        output_len=32,
        **options,
    ).plan()
    return planned.model_copy(update={"strategy": strategy, "offload": offload})


@pytest.mark.parametrize(
    ("options", "strategy", "offload", "said"),
    [case[1:] for case in DEMO],
    ids=[f"demo-{case[0]}" for case in DEMO],
)
def test_the_tokens_are_those_of_the_gpu_alone(
    options: dict[str, str],
    strategy: Strategy,
    offload: Offload | None,
    said: str,
    demo_model: Path,
    prompts: list[list[int]],
    gpu_only_tokens: list[list[int]],
    tmp_path: Path,
) -> None:
    before = shared_memory()
    file = tmp_path / "plan.json"
    demo_plan(demo_model, options, strategy, offload).save(file)
    with PlannedProcess(demo_model, (), tmp_path / "log", plan_file=file) as server:
        tokens = completions(server, prompts)
    log = server.log.read_text()
    assert tokens == gpu_only_tokens
    assert said in log
    assert ("Graph capturing finished" in log) == (strategy != "mixed-tp")
    assert left_behind(server, before) == []


PRETENDED_BYTES = 12 * GIB
LARGE = (
    "--gpu-memory 12GiB --max-model-len 2048 --concurrency 8 --input-len 512 --output-len 64",
    "-- --load-format tiled",
)


@pytest.mark.parametrize(
    "strategy",
    ["uva", "prefetch", "pipeline", "pipeline-uva", "pipeline-prefetch", "mixed-tp", "auto"],
    ids=lambda name: f"8b-{name}",
)
def test_an_8b_model_on_12_gib_keeps_to_its_memory(
    strategy: str, llama_8b: Path, tmp_path: Path
) -> None:
    """As planned, not edited: what is said to fit must start, and take no more."""
    before = used_bytes()
    options = (f"--strategy {strategy} --devices cuda:0,cpu", *LARGE)
    if strategy in ("uva", "prefetch"):
        options = (f"--strategy {strategy} --devices cuda:0", *LARGE)
    with ServeProcess(llama_8b, options, tmp_path / "log", with_tiled_weights()) as server:
        prompts = [list(range(1, 900)), [5, 6, 7]]
        assert [len(tokens) for tokens in completions(server, prompts)] == [24, 24]
        assert used_bytes() - before <= PRETENDED_BYTES


def used_bytes() -> int:
    """Memory in use on GPU 0, by anybody."""
    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    finally:
        pynvml.nvmlShutdown()

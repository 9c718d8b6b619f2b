"""How much vLLM's own offloading must move for a GPU to hold the rest."""

import pytest

from hetctl.bench.offload import gpu_overflow_bytes, prefetch_args, uva_args
from hetctl.units import GIB
from tests.bench import sample


def option(args: tuple[str, ...] | None, name: str) -> str:
    assert args is not None
    return args[args.index(name) + 1]


def test_overflow_is_what_cpu_ranks_hold_and_a_margin_less_what_gpus_have_left() -> None:
    # CPU: 8 layers of 0.5 GiB and 1/16 GiB of KV cache each. GPU: 15 GiB used of 16.
    plan = sample.plan(sample.rank(0, "cpu", (0, 8), 32), sample.rank(1, "cuda:0", (8, 32), 16))
    assert gpu_overflow_bytes(plan) == (4.5 + 0.5 - 1) * GIB


def test_a_gpu_with_room_for_all_has_no_overflow() -> None:
    plan = sample.plan(sample.rank(0, "cpu", (0, 8), 32), sample.rank(1, "cuda:0", (8, 32), 22))
    assert gpu_overflow_bytes(plan) <= 0


def test_uva_rounds_up_and_is_per_gpu() -> None:
    assert option(uva_args(int(3.3 * GIB), 1), "--cpu-offload-gb") == "3.5"
    assert option(uva_args(int(3.3 * GIB), 2), "--cpu-offload-gb") == "1.75"


@pytest.mark.parametrize("num_layers", [7, 28, 32, 80])
def test_prefetch_offloads_enough_layers_and_the_buffer(num_layers: int) -> None:
    for missing in range(1, num_layers):
        args = prefetch_args(missing * 100 - 1, 100, num_layers)
        size = int(option(args, "--offload-group-size"))
        count = int(option(args, "--offload-num-in-group"))
        # The rule of vllm/model_executor/offloader/prefetch.py.
        offloaded = sum(layer % size >= size - count for layer in range(num_layers))
        assert 1 <= count <= size
        assert offloaded == missing + 1


def test_prefetch_spreads_layers_evenly() -> None:
    args = prefetch_args(7 * 100, 100, 32)
    assert option(args, "--offload-group-size") == "4"
    assert option(args, "--offload-num-in-group") == "1"


def test_prefetch_is_impossible_when_no_layer_fits() -> None:
    assert prefetch_args(32 * 100, 100, 32) is None

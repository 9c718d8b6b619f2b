"""The real linear kernels, on every path of a layer, against float64."""

from typing import Any

import pytest

from tests.runtime.real_kernels import results
from vllm_hetero.kernels.host import cpu_flags

pytestmark = pytest.mark.engine

SCRIPT = "real_linear.py"


def check_kernels(found: dict[str, dict[str, Any]], has_packed: bool) -> None:
    wrong = {name: case for name, case in found.items() if case["takes"] and case["error"] > 1}
    assert wrong == {}
    assert all(case["takes"] for name, case in found.items() if "torch" in name)
    taken = {name for name, case in found.items() if case["takes"] and "packed" in name}
    assert taken == (
        {"packed bfloat16 64x96", "packed bfloat16 48x64", "packed bfloat16 4096x544"}
        if has_packed
        else set()
    )


@pytest.mark.parametrize(
    ("build", "isa"),
    [
        # What oneDNN does on a Zen 4 or a Cooper Lake, which have no AMX.
        ("own", "AVX512_CORE_BF16"),
        ("avx512", "AVX512_CORE"),
    ],
)
def test_every_kernel_is_right_on_lesser_cpus(build: str, isa: str) -> None:
    if "avx512f" not in cpu_flags():
        pytest.skip("this CPU has no AVX-512")
    found = results(SCRIPT, build, "kernels", ONEDNN_MAX_CPU_ISA=isa)
    check_kernels(found, build == "own" and "avx512_bf16" in cpu_flags())


def test_every_kernel_is_right_and_layers_get_what_the_user_chose() -> None:
    if "avx512_bf16" not in cpu_flags():
        pytest.skip("this CPU has no AVX-512 BF16")
    found = results(SCRIPT, "own", "layers")
    layers = {name: found.pop(name) for name in ("auto", "both", "onednn", "packed", "torch")}
    embeddings = {name: found.pop(name) for name in list(found) if name.startswith("embedding")}
    # (forms of the head that are made while loading, whether the weight stays in its own form)
    size = 2048 * 512 * 2
    assert {
        name.removeprefix("embedding: "): (case["at_load"], case["kept_bytes"])
        for name, case in embeddings.items()
    } == {
        "of the only stage, is the head": (1, size),
        "of the only stage, tied": (1, size),
        "of the first stage": (0, size),
        "of another width than the head": (0, size),
        "of the last stage, is the head": (1, 0),
        "of the last stage, tied": (1, 0),
        "none, a head": (1, 0),
        "none, a head that is cast in each step": (1, size),
    }
    assert all(case["error"] <= 1 for case in embeddings.values())
    assert all(case["rows"] for case in embeddings.values() if case["kept_bytes"])
    check_kernels(found, has_packed=True)
    assert {name: case for name, case in layers.items() if case["error"] > 1} == {}
    assert all(case["restored"] for case in layers.values())
    assert {name: case["kernels"] for name, case in layers.items() if name != "auto"} == {
        "both": ["onednn", "packed"],
        "onednn": ["onednn"],
        "packed": ["packed"],
        "torch": ["torch"],
    }
    assert {name for name, case in layers.items() if case["measured"]} == {"auto", "both"}
    assert {name for name, case in layers.items() if case["kept_bytes"]} == {"torch"}

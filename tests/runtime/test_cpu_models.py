"""What is known of a checkpoint's quantisation before anything loads."""

from typing import Any

import pytest

from tests.e2e.quantised_models import CONFIGS
from vllm_hetero.cpu_models import cpu_refusal


def refusal(scheme: dict[str, Any], **config: Any) -> str | None:
    return cpu_refusal({"quantization_config": scheme, **config})


@pytest.mark.parametrize("scheme", ["compressed-tensors", "gptq", "awq"])
def test_schemes_that_run_are_accepted(scheme: str) -> None:
    assert refusal(CONFIGS[scheme]) is None


@pytest.mark.parametrize(
    ("scheme", "named"),
    [
        (CONFIGS["gptq-8bit"], "8-bit GPTQ"),
        (CONFIGS["fp8"], "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        (
            CONFIGS["compressed-tensors"] | {"sparsity_config": {"format": "sparse-24"}},
            "compressed-tensors with sparse weights",
        ),
    ],
)
def test_other_schemes_are_refused_by_name(scheme: dict[str, Any], named: str) -> None:
    reason = refusal(scheme)
    assert reason is not None
    assert reason.startswith(f"is quantised as {named}, which CPU ranks cannot run; they run 4-bit")


@pytest.mark.parametrize(
    ("group", "change", "named"),
    [
        ("w8a8_fp8", {"input_activations": {"num_bits": 8, "dynamic": False}}, "W8A8 with channel"),
        ("w8a8_int8", {"weights": {"num_bits": 8, "type": "int"}}, "W8A8 with None scales"),
        ("w4a16", {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}}, "W8A16"),
        ("w4a16", {"format": "nvfp4-pack-quantized"}, "nvfp4-pack-quantized W4A16"),
    ],
)
def test_other_compressed_tensors_are_refused(
    group: str, change: dict[str, Any], named: str
) -> None:
    groups = CONFIGS["compressed-tensors"]["config_groups"]
    changed = groups | {group: groups[group] | change}
    assert named in str(refusal(CONFIGS["compressed-tensors"] | {"config_groups": changed}))


def test_quantised_experts_are_refused_and_plain_ones_are_not() -> None:
    assert "quantised experts" in str(refusal(CONFIGS["awq"], num_experts=8))
    assert cpu_refusal({"num_experts": 8}) is None
    assert "MLA" in str(cpu_refusal({"text_config": {"kv_lora_rank": 512}}))


def test_the_text_part_is_looked_at_as_well() -> None:
    nested = {"text_config": {"quantization_config": {"quant_method": "mxfp4"}}}
    assert "mxfp4" in str(cpu_refusal(nested))

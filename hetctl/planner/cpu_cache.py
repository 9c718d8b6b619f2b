"""Which KV caches CPU ranks can hold."""

from hetctl.model.spec import KvCacheDtype, ModelSpec
from hetctl.planner.cache_layout import pages_divide

# vllm/v1/attention/backends/cpu_attn.py: supported_kv_cache_dtypes, and _get_attn_isa.
_ON_CPU: tuple[KvCacheDtype, ...] = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")
_FP8_ISA = ("avx512f", "amx_tile")
_FP8_HEAD_MULTIPLE = 32


def cpu_cache_refusal(spec: ModelSpec, isa: tuple[str, ...]) -> str | None:
    """Why CPU ranks cannot hold such a cache, as a clause without a subject; None where they can.

    Args:
        isa: Of the CPU, as :class:`~hetctl.machine.Cpu` names it.
    """
    if not pages_divide(spec.layers):
        return (
            "has windows in some of its layers and KV caches that are not multiples of one "
            "another, which only GPUs can put into one pool"
        )
    dtype = spec.kv_cache_dtype
    if dtype == "auto":
        return None
    if dtype not in _ON_CPU:
        return f"is asked for a KV cache in {dtype}, which CPU ranks have as `auto` only"
    if spec.head_dim % _FP8_HEAD_MULTIPLE:
        return (
            f"is asked for a KV cache in {dtype}, which CPU ranks have for head sizes that "
            f"{_FP8_HEAD_MULTIPLE} divides, and its is {spec.head_dim}"
        )
    if not any(name in isa for name in _FP8_ISA):
        return f"is asked for a KV cache in {dtype}, which needs a CPU with AVX-512"
    return None

"""The KV cache's dtype: what was asked for, or what the checkpoint says."""

from collections.abc import Mapping
from typing import Any, get_args

from hetctl.errors import UsageError
from hetctl.model.spec import DTYPE_BYTES, KvCacheDtype, ModelSpec

KV_CACHE_DTYPES: tuple[KvCacheDtype, ...] = get_args(KvCacheDtype)

_BYTES: dict[KvCacheDtype, int] = {
    "float16": 2,
    "bfloat16": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
}


def parse_kv_cache_dtype(text: str) -> KvCacheDtype:
    """One of vLLM's names.

    Raises:
        UsageError: another one, or one whose cache hetctl cannot size.
    """
    for known in KV_CACHE_DTYPES:
        if text == known:
            return known
    raise UsageError(f"--kv-cache-dtype {text!r} is not one of {', '.join(KV_CACHE_DTYPES)}.")


def kv_cache_dtype_of(config: Mapping[str, Any]) -> KvCacheDtype:
    """What vLLM takes for ``auto``: FP8 where the checkpoint has scales for it.

    Raises:
        UsageError: the checkpoint's scheme is one that hetctl cannot size.
    """
    quantisation = config.get("quantization_config") or {}
    inner = quantisation.get("quantization") or quantisation
    scheme = next(
        (
            part[key]
            for part in (inner, quantisation)
            for key in ("kv_cache_scheme", "kv_cache_quant_algo")
            if part.get(key)
        ),
        None,
    )
    if scheme is None:
        return "auto"
    bits = scheme.get("num_bits") if isinstance(scheme, Mapping) else scheme
    if bits == 8 or str(bits).lower() == "fp8":
        return "fp8"
    raise UsageError(
        f"The checkpoint wants its KV cache as {scheme!r:.80}, which hetctl cannot size; "
        f"give --kv-cache-dtype."
    )


def with_kv_cache_dtype(spec: ModelSpec, dtype: KvCacheDtype) -> ModelSpec:
    """``spec``, whose cache is sized in its own dtype, with a cache of ``dtype``."""
    if dtype == "auto":
        return spec
    own, stored = DTYPE_BYTES[spec.dtype], _BYTES[dtype]
    layers = {
        layer: layer.model_copy(
            update={"kv_bytes_per_token": layer.kv_bytes_per_token * stored // own}
        )
        for layer in set(spec.layers)
    }
    return spec.model_copy(
        update={"layers": tuple(layers[x] for x in spec.layers), "kv_cache_dtype": dtype}
    )

"""What the ranks of a mixed engine tell it about their KV cache."""

from collections.abc import Mapping
from dataclasses import replace

from vllm.v1.kv_cache_interface import AttentionSpec, KVCacheSpec


def alike_on_all_devices(specs: Mapping[str, KVCacheSpec]) -> dict[str, KVCacheSpec]:
    """``specs`` by layer, without what an attention backend says of its memory's strides.

    The engine demands equal specs of all ranks that hold a layer, and puts layers of unequal specs
    into groups of their own: with windows in some of the layers, the same layers on either device
    would each take blocks, twice as many for a sequence. Block size, heads and types are equal;
    whether a backend finds a block by a stride is not, and matters only where pages of different
    sizes are padded to one, which the engine refuses without it.
    """
    return {
        layer: replace(spec, indexes_kv_by_block_stride=False)
        if isinstance(spec, AttentionSpec)
        else spec
        for layer, spec in specs.items()
    }

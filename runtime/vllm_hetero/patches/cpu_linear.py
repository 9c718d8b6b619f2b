"""Patch: the linear kernel of a CPU rank is chosen by the number of rows.

What: while a model loads, ``layers.utils.dispatch_cpu_unquantized_gemm`` is ours for dense
floating-point weights.
Why: vLLM gives each layer one kernel at load, by one variable for all, and no one kernel is
the fastest for all numbers of rows. It also keeps a head's weight beside the kernel's form of it,
where nothing reads it, and makes that form twice of a tied one.
Removable when: vLLM chooses by rows itself, or lets a platform bring its linear method.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from vllm.model_executor.layers import utils

from vllm_hetero.patches.contract import require_parameters

if TYPE_CHECKING:
    from vllm_hetero.cpu_linear.policy import LinearPolicy
    from vllm_hetero.cpu_linear.vocabulary import VocabularyUse

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@contextmanager
def layers_equipped_by(policy: "LinearPolicy", vocabulary: "VocabularyUse") -> Iterator[None]:
    """Let ``policy`` equip the layers that are loaded while the context lasts.

    Args:
        policy: Who chooses.
        vocabulary: What the rank's embeddings and head are for.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import (
        ParallelLMHead,
        VocabParallelEmbedding,
    )

    original = utils.dispatch_cpu_unquantized_gemm
    require_parameters(original, ("layer", "remove_weight"))

    def dispatch(layer: torch.nn.Module, remove_weight: bool) -> None:
        weight = layer.weight
        if weight.is_meta or weight.ndim != 2 or weight.dtype not in _FLOATS:
            original(layer, remove_weight)
        elif isinstance(layer, ParallelLMHead):
            # vLLM keeps the weight of every embedding, and a head is one by its class only.
            policy.equip(layer, keep_weight=vocabulary.head_is_read)
        elif isinstance(layer, VocabParallelEmbedding):
            if weight.shape[1] == vocabulary.head_width:
                policy.equip(layer, keep_weight=vocabulary.keeps_head)
            else:
                policy.equip_at_first_call(layer)
        else:
            policy.equip(layer, keep_weight=not remove_weight)

    utils.dispatch_cpu_unquantized_gemm = dispatch
    try:
        yield
    finally:
        utils.dispatch_cpu_unquantized_gemm = original

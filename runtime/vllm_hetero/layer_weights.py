"""How many bytes of weights the layers of a rank read in each step."""

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator


class LayerWeights:
    """Counts while a model loads: before kernels bring the weights into forms of their own, in
    which some are outside of any tensor and others there twice.

    Attributes:
        read_bytes: Each weight once; None until the model is loaded, and where a step reads a
            part of them only, as it does of experts.
    """

    def __init__(self) -> None:
        self.read_bytes: int | None = None

    def count(self, model: nn.Module) -> None:
        """Look at a model whose weights are loaded and not yet processed."""
        from vllm.model_executor.layers.fused_moe.routed_experts import RoutedExperts

        if any(isinstance(module, RoutedExperts) for module in model.modules()):
            return
        self.read_bytes = sum({id(w): w.nbytes for w in _of_layers(model)}.values())


def _of_layers(model: nn.Module) -> "Iterator[nn.Parameter]":
    """Without embeddings, of which a step reads a few rows, and the head, which is no layer."""
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

    for module in model.modules():
        # A head is one of vLLM's embeddings, too.
        if not isinstance(module, nn.Embedding | VocabParallelEmbedding):
            yield from module.parameters(recurse=False)

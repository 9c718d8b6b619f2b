"""Which weights the layers of a step read."""

import pytest
import torch
from torch import nn


def linear(rows: int, columns: int) -> nn.Linear:
    return nn.Linear(columns, rows, bias=False, dtype=torch.bfloat16)


@pytest.fixture
def parts() -> tuple[type[nn.Module], type[nn.Module]]:
    """vLLM's embedding and its experts, made without a distributed engine around them."""
    from vllm.model_executor.layers.fused_moe.routed_experts import RoutedExperts
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

    def bare(kind: type[nn.Module]) -> type[nn.Module]:
        class Bare(kind):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                nn.Module.__init__(self)
                self.weight = nn.Parameter(torch.zeros(100, 8))

        return Bare

    return bare(VocabParallelEmbedding), bare(RoutedExperts)


def test_layers_and_their_norms_count_once_and_embeddings_and_head_do_not(
    parts: tuple[type[nn.Module], type[nn.Module]],
) -> None:
    from vllm_hetero.layer_weights import LayerWeights

    embedding, _ = parts
    shared = linear(4, 8)
    twice = linear(4, 8)
    twice.weight = shared.weight
    model = nn.ModuleDict(
        {
            "embed": embedding(),
            "positions": nn.Embedding(50, 8),
            "layers": nn.ModuleList([linear(16, 8), shared, twice, nn.LayerNorm(8)]),
            "head": embedding(),
        }
    )
    weights = LayerWeights()
    assert weights.read_bytes is None
    weights.count(model)
    assert weights.read_bytes == 2 * (16 * 8 + 4 * 8) + 4 * (8 + 8)


def test_experts_leave_it_open(parts: tuple[type[nn.Module], type[nn.Module]]) -> None:
    from vllm_hetero.layer_weights import LayerWeights

    _, experts = parts
    weights = LayerWeights()
    weights.count(nn.ModuleList([linear(16, 8), experts()]))
    assert weights.read_bytes is None


def test_a_model_is_counted_before_its_weights_are_processed_and_only_in_the_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vllm.model_executor.model_loader import base_loader

    from vllm_hetero.layer_weights import LayerWeights
    from vllm_hetero.patches import layer_weights as patch

    def process_weights_after_loading(model, model_config, target_device):  # type: ignore[no-untyped-def]
        model[0].weight = nn.Parameter(torch.empty(0))

    name = "process_weights_after_loading"
    monkeypatch.setattr(base_loader, name, process_weights_after_loading)
    weights, model = LayerWeights(), nn.ModuleList([linear(16, 8)])
    with patch.counted_by(weights):
        base_loader.process_weights_after_loading(model, None, None)
    assert weights.read_bytes == 2 * 16 * 8
    assert model[0].weight.numel() == 0
    assert base_loader.process_weights_after_loading is process_weights_after_loading

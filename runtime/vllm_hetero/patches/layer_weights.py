"""Patch: weights are counted between their loading and their processing.

What: while a model loads, ``base_loader.process_weights_after_loading`` is ours, which looks at
the model and goes on as before.
Why: afterwards kernels hold weights in forms of their own, outside of any parameter; the number
of bytes that a step's layers read can no longer be told.
Removable when: a model loader calls a method that can be overridden between the two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vllm.model_executor.model_loader import base_loader

from vllm_hetero.patches.contract import require_parameters

if TYPE_CHECKING:
    from vllm_hetero.layer_weights import LayerWeights


@contextmanager
def counted_by(weights: "LayerWeights") -> Iterator[None]:
    """Let ``weights`` see the model that is loaded while the context lasts."""
    original = base_loader.process_weights_after_loading
    require_parameters(original, ("model", "model_config", "target_device"))

    def process_weights_after_loading(model: Any, model_config: Any, target_device: Any) -> None:
        weights.count(model)
        original(model, model_config, target_device)

    base_loader.process_weights_after_loading = process_weights_after_loading
    try:
        yield
    finally:
        base_loader.process_weights_after_loading = original

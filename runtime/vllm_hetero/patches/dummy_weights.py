"""Patch: ``--load-format dummy`` fills the weights of a CPU rank with all threads.

What: ``weight_utils.initialize_single_dummy_weight`` fills dense CPU weights our way, and
``DummyModelLoader.load_weights`` fills each weight once.
Why: vLLM draws every value from one generator on one thread, and calls this for each module
of the model with all weights below it, so each is drawn about six times: 110 s for 4.5 GB.
Removable when: vLLM fills each dummy weight once, on many threads.
"""

import torch
from vllm.model_executor.model_loader import dummy_loader, weight_utils

from vllm_hetero.dummy_weights import fill
from vllm_hetero.patches.contract import require_parameters

_MARK = "_vllm_hetero"


def apply() -> None:
    """Replace the two functions; does nothing the second time."""
    original = weight_utils.initialize_single_dummy_weight
    if hasattr(original, _MARK):
        return
    require_parameters(original, ("param", "low", "high", "seed"))
    loader = dummy_loader.DummyModelLoader
    require_parameters(loader.load_weights, ("self", "model", "model_config"))
    require_parameters(loader._process_online_quant_layer, ("self", "layer", "info"))

    def initialize_single_dummy_weight(
        param: torch.Tensor, low: float = -1e-3, high: float = 1e-3, seed: int = 1234
    ) -> None:
        if param.device.type == "cpu" and param.is_floating_point() and param.is_contiguous():
            fill(param, low, high)
        else:
            original(param, low, high, seed)

    def load_weights(
        self: dummy_loader.DummyModelLoader,
        model: torch.nn.Module,
        model_config: dummy_loader.ModelConfig,
    ) -> None:
        # Of the whole model, once; weights that are made while they are quantised come after.
        weight_utils.initialize_dummy_weights(model, model_config)
        for layer in model.modules():
            info = dummy_loader.get_layerwise_info(layer)
            if info.can_load():
                self._process_online_quant_layer(layer, info)

    setattr(initialize_single_dummy_weight, _MARK, True)
    weight_utils.initialize_single_dummy_weight = initialize_single_dummy_weight
    dummy_loader.initialize_single_dummy_weight = initialize_single_dummy_weight
    loader.load_weights = load_weights

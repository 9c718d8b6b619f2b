"""Random-looking weights in seconds: vLLM's ``--load-format tiled``.

vLLM's own ``dummy`` format draws every weight from one generator on one thread: 110 s for
the 4.5 GB of a CPU stage. Here one small random tile is repeated, by all threads, which
changes no measurement: no kernel skips work for equal values. Put this folder on
``PYTHONPATH`` and vLLM finds it as a plugin.
"""


def register() -> None:
    import torch
    from torch import nn
    from vllm.config import ModelConfig
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.dummy_loader import DummyModelLoader

    @register_model_loader("tiled")
    class TiledLoader(DummyModelLoader):
        def load_weights(self, model: nn.Module, model_config: ModelConfig) -> None:
            generator = torch.Generator().manual_seed(0)
            tile = torch.empty(1 << 16).uniform_(-1e-2, 1e-2, generator=generator)
            for weight in model.state_dict().values():
                if not weight.is_floating_point():
                    continue
                flat = weight.view(-1)
                whole = len(flat) // len(tile) * len(tile)
                same = tile.to(device=weight.device, dtype=weight.dtype)
                flat[:whole].view(-1, len(tile)).copy_(same.expand(whole // len(tile), -1))
                flat[whole:].copy_(same[: len(flat) - whole])

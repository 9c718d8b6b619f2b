"""Patch: on a CPU rank, a request's own random numbers survive a prompt that takes several steps.

What: while ``GPUModelRunner.sample_tokens`` runs, rows whose token will be thrown away draw from a
generator that is thrown away, too.
Why: each step draws a token for every row, also for a prompt that is not yet whole. vLLM then takes
a seeded generator back by four numbers, which only CUDA's can: on a CPU the first chunked
prompt with a seed ends the engine ("CPU Generator does not use offset").
Removable when: ``_bookkeeping_sync`` does not draw for discarded rows, or restores the state that
the generator had.
"""

from functools import wraps
from typing import Any

import numpy as np
import torch
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from vllm_hetero.patches.contract import require_parameters


class ThrowawayGenerator(torch.Generator):
    """One that can be taken back, as nobody asks what it draws next."""

    def get_offset(self) -> int:
        return 0

    def set_offset(self, offset: int) -> None:
        pass


def apply() -> None:
    """Wrap the method; does nothing the second time."""
    original = GPUModelRunner.sample_tokens
    if hasattr(original, "spares_seeds"):
        return
    require_parameters(original, ("self", "grammar_output"))

    @wraps(original)
    def sample_tokens(self: GPUModelRunner, grammar_output: Any) -> Any:
        # The dictionary is also the one in the metadata that the sampler is given.
        generators = self.input_batch.generators
        discarded = np.flatnonzero(self.discard_request_mask.np[: self.input_batch.num_reqs])
        kept = {int(row): generators[row] for row in discarded if row in generators}
        for row in kept:
            generators[row] = ThrowawayGenerator()
        try:
            return original(self, grammar_output)
        finally:
            generators.update(kept)

    sample_tokens.spares_seeds = True  # type: ignore[attr-defined]
    GPUModelRunner.sample_tokens = sample_tokens  # type: ignore[method-assign]

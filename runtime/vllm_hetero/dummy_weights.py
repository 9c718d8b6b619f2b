"""Random-looking weights for ``--load-format dummy``, at the rate of memory.

A tile of random values is drawn once and repeated over each weight by torch's own threads.
Its length is a prime, so that the rows of a matrix, whose length is not, start at different
places of it: equal rows would, for one, send every token to the same experts.

Like vLLM's, a value depends only on its place in the weight and on the weight's type, and so
neither on the number of threads nor on the parameter's name.
"""

from functools import cache

import torch

TILE_ELEMENTS = 1_048_573
"""The largest prime below 2**20."""

_SEED = 1234


def fill(weight: torch.Tensor, low: float, high: float) -> None:
    """Fill a contiguous floating-point ``weight`` with values in [``low``, ``high``)."""
    flat = weight.detach().view(-1)
    tile = _tile(weight.dtype, low, high)
    whole = flat.numel() // TILE_ELEMENTS
    flat[: whole * TILE_ELEMENTS].view(whole, TILE_ELEMENTS).copy_(tile.expand(whole, -1))
    rest = flat[whole * TILE_ELEMENTS :]
    rest.copy_(tile[: rest.numel()])


@cache
def _tile(dtype: torch.dtype, low: float, high: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    # As in vLLM: types of fewer than 16 bits cannot be drawn.
    drawn = torch.float16 if torch.finfo(dtype).bits < 16 else dtype
    tile = torch.empty(TILE_ELEMENTS, dtype=drawn).uniform_(low, high, generator=generator)
    return tile.to(dtype)

"""How vLLM lays out the KV cache: blocks per sequence, and bytes per block on each stage.

vLLM hands out blocks by number. A number stands for as many tokens in all layers of one *group*,
on every rank (``vllm/v1/core/kv_cache_utils.py``: ``get_kv_cache_groups``):

* Where all layers look back equally far, they are one group, and each has a tensor of its own.
* Otherwise pages are made equally large, by longer blocks where that is possible and by padding
  where it is not. The layers of each kind are dealt in turn to groups of about equal size: that of
  the rarest kind, or of the most frequent one where there are less than half as many more of it. A
  sequence needs blocks of every group, and the layers of different groups share tensors: a stage
  has as many as it has layers of any one group (``_project_kv_cache_groups_to_worker``).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from hetctl.model.spec import LayerSpec
from hetctl.planner.serving import Serving
from hetctl.planner.shared_pages import SharedPages

# Of how many more layers of the most frequent kind than of the rarest a group still holds all.
_ONE_GROUP_UP_TO = 1.5

_Kind = tuple[int | None, int]
"""Sliding window and bytes per token: layers of which these are equal are of one kind."""


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """Blocks of one model's KV cache under one set of engine settings."""

    blocks_per_sequence: int
    """That a sequence of ``max_model_len`` tokens takes, of all groups."""
    blocks: int
    """For all concurrent sequences, and the one that vLLM keeps back for what a table of blocks
    leaves out (``vllm/v1/core/block_pool.py: null_block``)."""
    own_bytes: tuple[int, ...]
    """Bytes of one block in layers with tensors of their own: prefix sums over layers."""
    shared: SharedPages | None = None
    """The tensors that layers share, sized for ``blocks``."""

    def bytes_on(self, first: int, end: int) -> int:
        """Bytes of ``blocks`` on a stage of layers ``[first, end)``."""
        own = self.blocks * (self.own_bytes[end] - self.own_bytes[first])
        return own + (self.shared.taken(first, end) if self.shared else 0)

    def block_bytes_on(self, first: int, end: int) -> int:
        """Bytes of one block there."""
        return self.bytes_on(first, end) // self.blocks


def cache_layout(layers: Sequence[LayerSpec], serving: Serving) -> CacheLayout:
    """The layout for ``layers``, all that the engine has."""
    cached = [layer for layer in layers if layer.kv_bytes_per_token]
    windows = {layer.sliding_window for layer in cached}
    if len(windows) > 1:
        return _in_groups(layers, serving)
    block = serving.block_size
    per_sequence = max((_blocks(window, block, serving) for window in windows), default=0)
    own = accumulate((block * layer.kv_bytes_per_token for layer in layers), initial=0)
    return CacheLayout(per_sequence, serving.concurrency * per_sequence + 1, tuple(own))


def pages_divide(layers: Sequence[LayerSpec]) -> bool:
    """Whether no page must be padded: vLLM's CPU attention reads none that is."""
    cached = [layer for layer in layers if layer.kv_bytes_per_token]
    if len({layer.sliding_window for layer in cached}) < 2:
        return True
    sizes = {layer.kv_bytes_per_token for layer in cached}
    return all(max(sizes) % size == 0 for size in sizes)


def _in_groups(layers: Sequence[LayerSpec], serving: Serving) -> CacheLayout:
    kinds = list(map(_kind, layers))
    counts = Counter(kind for kind in kinds if kind is not None)
    page = serving.block_size * max(size for _, size in counts)
    size = fewest = min(counts.values())
    if max(counts.values()) < _ONE_GROUP_UP_TO * fewest:
        size = max(counts.values())
    groups = {kind: -(-count // size) for kind, count in counts.items()}
    per_sequence = sum(
        groups[kind] * _blocks(kind[0], _tokens_per_page(kind, page, serving), serving)
        for kind in counts
    )
    blocks = serving.concurrency * per_sequence + 1
    prefixes = (tuple(accumulate((other == kind for other in kinds), initial=0)) for kind in counts)
    shared = SharedPages(page * blocks, tuple(zip(prefixes, groups.values(), strict=True)))
    return CacheLayout(per_sequence, blocks, (0,) * (len(layers) + 1), shared)


def _kind(layer: LayerSpec) -> _Kind | None:
    """None for a layer without a cache."""
    if not layer.kv_bytes_per_token:
        return None
    return layer.sliding_window, layer.kv_bytes_per_token


def _tokens_per_page(kind: _Kind, page: int, serving: Serving) -> int:
    """A page of the largest layers holds a block, and of others several where they fit exactly
    (``unify_kv_cache_spec_page_size``)."""
    own = serving.block_size * kind[1]
    return serving.block_size * (page // own if page % own == 0 else 1)


def _blocks(window: int | None, block: int, serving: Serving) -> int:
    """Blocks of ``block`` tokens that a sequence takes in a layer.

    A sliding window keeps the window and what is in flight, and a block more, as it may begin
    within one (``vllm/v1/kv_cache_interface.py: SlidingWindowSpec``).
    """
    if window is None:
        return -(-serving.max_model_len // block)
    held = min(window - 1 + serving.in_flight_tokens, serving.max_model_len)
    return -(-held // block) + 1

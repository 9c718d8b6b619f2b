"""Sequences that decode together, and where their KV cache lies."""

from dataclasses import dataclass

import torch

from vllm_hetero.calibration.shapes import BLOCK


@dataclass(frozen=True)
class Heads:
    """Of one layer's attention."""

    query: int
    kv: int
    channels: int

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values in bfloat16."""
        return 2 * self.kv * self.channels * 2


class Batch:
    """One new token for each sequence, which looks back on ``context`` tokens.

    Args:
        blocks: Size of the cache. :meth:`next_table` goes through it in turns, so that what is
            read comes from memory.

    Raises:
        ValueError: the sequences need more blocks.
    """

    def __init__(
        self, heads: Heads, sequences: int, context: int, blocks: int, device: torch.device
    ) -> None:
        def random(count: int) -> torch.Tensor:
            return torch.rand(sequences, count, heads.channels, device=device).bfloat16()

        each = -(-context // BLOCK)
        wide = sequences * each
        if blocks < wide:
            raise ValueError(f"{sequences} sequences need {wide} blocks, and there are {blocks}")
        self.heads, self.sequences, self.context = heads, sequences, context
        self.kv_bytes = sequences * context * heads.kv_bytes_per_token
        self.query, self.key, self.value = random(heads.query), random(heads.kv), random(heads.kv)
        self.output = torch.empty_like(self.query)
        self.scale = heads.channels**-0.5
        self.query_starts = torch.arange(sequences + 1, dtype=torch.int32, device=device)
        self.lengths = torch.full((sequences,), context, dtype=torch.int32, device=device)
        first_slots = torch.arange(sequences, dtype=torch.int64, device=device) * each * BLOCK
        self.slots = first_slots + context - 1
        first = torch.arange(wide, dtype=torch.int32, device=device).view(sequences, each)
        starts = torch.arange(0, blocks - wide + 1, wide)
        # Out of order: the end of a cache that was just filled may still be in the CPU's.
        order = torch.randperm(len(starts), generator=torch.Generator().manual_seed(0))
        self._tables = [first + start for start in starts[order].tolist()]
        self._turn = 0

    def next_table(self) -> torch.Tensor:
        """Blocks of each sequence [sequences, blocks], int32: other ones than the last time."""
        self._turn = (self._turn + 1) % len(self._tables)
        return self._tables[self._turn]

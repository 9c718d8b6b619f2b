"""Memory that the layers of a stage share: it grows with the stage, but not by a sum."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SharedPages:
    """Tensors that layers of different groups share.

    The layers of a kind are dealt to its groups in turn, so of a run of ``n`` of them some group
    has ``n / groups``, rounded up. A stage has as many tensors as the group with most layers there.
    """

    tensor_bytes: int
    kinds: tuple[tuple[Sequence[int], int], ...]
    """Of each kind: prefix sums of its layers, and the groups that they are dealt to."""

    def taken(self, first: int, end: int) -> int:
        """Bytes on a stage of layers ``[first, end)``; never less on a longer one."""
        tensors = 0
        for counts, groups in self.kinds:
            most = -((counts[first] - counts[end]) // groups)
            if most > tensors:
                tensors = most
        return self.tensor_bytes * tensors

    def mirrored(self) -> "SharedPages":
        """The same in a model whose last layer is the first."""
        return SharedPages(
            self.tensor_bytes,
            tuple(
                ([counts[-1] - count for count in reversed(counts)], groups)
                for counts, groups in self.kinds
            ),
        )

"""Where a stage keeps the activations that it received."""

import torch


class ReceiveBuffers:
    """On a GPU, one buffer of the largest batch per tensor; on a CPU, the tensor itself.

    A GPU stage pads its batch to a CUDA graph's size and reads that many rows of what it
    received, but a CPU stage sends just the rows that hold tokens. Handing out a buffer
    with room for the largest batch lets both be right; rows past the message are padding.
    """

    def __init__(self, device: torch.device, max_tokens: int) -> None:
        self._device = device
        self._max_tokens = max_tokens
        self._buffers: dict[str, torch.Tensor] = {}

    def fill(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        """Put ``rows`` (tokens, hidden), on the host, where the stage reads them.

        Returns:
            A tensor on the stage's device with at least as many rows.
        """
        if self._device.type == "cpu":
            return rows
        buffer = self.room(name, rows.shape, rows.dtype)
        buffer[: len(rows)].copy_(rows, non_blocking=True)
        return buffer

    def room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The buffer of a tensor of ``shape`` (tokens, hidden), with at least as many rows."""
        rows = shape[0]
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < rows or buffer.dtype != dtype:
            room = (max(self._max_tokens, rows), *shape[1:])
            buffer = torch.zeros(room, dtype=dtype, device=self._device)
            self._buffers[name] = buffer
        return buffer

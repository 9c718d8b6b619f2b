"""One of two ranks that send a message to each other and back, to try out a machine.

    python -m vllm_hetero.round_trip RANK INIT_METHOD

Rank 0 is on the first GPU if this process may use one, rank 1 on the CPU; their roles must be
in the environment as :mod:`vllm_hetero.rank_environment` sets them. The messages go through
the hops of a real pipeline, first over Gloo, then through shared memory.

Writes one JSON object per line to standard output: ``{"doing": ...}`` before each step, and
``{"found": {...}}`` at the end. Whoever starts it gives it a time limit: a rank waits for the
other for as long as that lives.
"""

import json
import mmap
import statistics
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from vllm_hetero.hops import Receiver, Sender

ROWS, HIDDEN = 64, 1024
"""Of the message: 128 KiB of bfloat16."""
_WARM_UPS, _ROUNDS = 3, 20
_PINNED_BYTES = 16 << 20


def main() -> None:
    rank, init_method = int(sys.argv[1]), sys.argv[2]
    _doing("importing torch and vLLM")
    import torch
    from vllm.platforms import current_platform

    from vllm_hetero.hops.between_two import CPU_RANK, gloo_ends, join, shm_ends

    _doing("finding the platform of the rank")
    found: dict[str, Any] = {"platform": type(current_platform).__name__}
    on_gpu = rank != CPU_RANK and torch.cuda.is_available()
    device = torch.device("cuda:0" if on_gpu else "cpu")
    found["device"] = torch.cuda.get_device_name(0) if on_gpu else "cpu"
    if on_gpu:
        found["pinned"] = _can_pin(device)
    else:
        found["kernels"] = _load_kernels()
    torch.set_num_threads(1)
    _doing("opening a Gloo group with the other rank")
    group = join(rank, init_method, device, max_tokens=ROWS)
    _doing("sending over Gloo")
    found["gloo_s"] = _round_trip_s(rank, device, *gloo_ends(group))
    _doing("sending through shared memory")
    ends = shm_ends(group, ROWS * HIDDEN * torch.bfloat16.itemsize, max_tokens=ROWS)
    found["shm_s"] = _round_trip_s(rank, device, *ends)
    group.barrier()
    _say({"found": found})


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _doing(step: str) -> None:
    _say({"doing": step})


def _load_kernels() -> str:
    """Load the module that this CPU needs, as vLLM's CPU platform does, which hides why not.

    Returns:
        Its name.

    Raises:
        ImportError: it cannot be loaded.
        KernelsError: it is not installed and cannot be.
    """
    from vllm_hetero.kernels import required_module
    from vllm_hetero.sideload import add_kernels_to_vllm

    _doing("loading the CPU kernels")
    add_kernels_to_vllm()
    module = required_module()
    import_module(f"vllm.{module}")
    return module


def _can_pin(device: "torch.device") -> bool:
    """Whether shared memory can be page-locked for the GPU's copy engine."""
    from vllm_hetero.host_memory import HostMemory

    _doing("pinning host memory for the GPU")
    memory = HostMemory(mmap.mmap(-1, _PINNED_BYTES), device)
    pinned = memory.gpu_address is not None
    memory.close()
    return pinned


def _round_trip_s(
    rank: int, device: "torch.device", sender: "Sender", receiver: "Receiver"
) -> float:
    """Seconds for there and back, the median of some.

    Raises:
        RuntimeError: what came back is not what was sent.
    """
    import torch

    from vllm_hetero.hops.between_two import CPU_RANK

    message = torch.arange(ROWS * HIDDEN, device=device).reshape(ROWS, HIDDEN).to(torch.bfloat16)
    times = []
    for _ in range(_WARM_UPS + _ROUNDS):
        started = time.perf_counter()
        if rank != CPU_RANK:
            _send(sender, message)
        received = receiver.recv()["hidden_states"][:ROWS]
        if not torch.equal(received, message):
            raise RuntimeError("the message arrived with other contents than were sent")
        if rank == CPU_RANK:
            _send(sender, received)
        times.append(time.perf_counter() - started)
    return statistics.median(times[_WARM_UPS:])


def _send(sender: "Sender", message: "torch.Tensor") -> None:
    for handle in sender.send({"hidden_states": message}):
        handle.wait()


if __name__ == "__main__":
    main()

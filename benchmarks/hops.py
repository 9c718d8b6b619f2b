"""One pipeline hop between a GPU rank and a CPU rank: shared memory against Gloo.

    python benchmarks/hops.py [--threads N]

Two processes send a message back and forth; a hop is half of a round trip, from the GPU
tensor being complete to the other stage being able to use it. The receiving stage waits
already when a message is sent, as it does in an engine. ``pinned copy`` is what the copy
engine alone needs for the same bytes, both ways, halved. Without a GPU both ends are on the
CPU. Prints a table; all rows are measured in one run.
"""

import statistics
import time

import torch
import torch.multiprocessing as mp
from two_ranks import device_of, on_two_ranks, start_together

from vllm_hetero.calibration.pair import Pair, message_bytes
from vllm_hetero.calibration.shapes import HIDDEN

CASES = {
    "64 x 4096 bf16": (64, 300),
    "1 x 4096 bf16": (1, 300),
    "8192 x 4096 bf16 (64 MiB)": (8192, 12),
}
TURNS = 4
WARM_UP = 5


def main() -> None:
    table = on_two_ranks(run, __doc__)
    print(
        f"{'message':28} {'shm':>10} {'gloo':>10} {'gloo/shm':>9} {'pinned':>10} {'shm/pinned':>11}"
    )
    for name, shm, gloo, pinned in table:
        beside = f"{pinned * 1e6:8.1f}us {shm / pinned:11.2f}" if pinned else f"{'-':>10} {'-':>11}"
        print(f"{name:28} {shm * 1e6:8.1f}us {gloo * 1e6:8.1f}us {gloo / shm:9.1f} {beside}")


def run(rank: int, port: int, threads: int, results: "mp.Queue") -> None:
    from vllm_hetero.hops.between_two import gloo_ends, join, shm_ends

    device = device_of(rank, threads)
    on_gpu = device.type == "cuda"
    most = max(rows for rows, _ in CASES.values())
    group = join(rank, f"tcp://127.0.0.1:{port}", device, most)
    kinds = {
        "shm": Pair(*shm_ends(group, message_bytes(most), most), device),
        "gloo": Pair(*gloo_ends(group), device),
    }
    table = []
    for name, (rows, rounds) in CASES.items():
        message = {"hidden_states": torch.ones(rows, HIDDEN, dtype=torch.bfloat16, device=device)}
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        # By turns, so that drift hits both alike, and several of a kind together: an engine
        # has one kind, and what it runs is not cold after each use of the other.
        for _ in range(TURNS):
            for kind, pair in kinds.items():
                for i in range(rounds // TURNS + WARM_UP):
                    group.barrier()
                    start_together(rank)
                    if rank == 1:
                        pair.pong()
                        continue
                    seconds = pair.ping(message)
                    if i >= WARM_UP:
                        times[kind].append(seconds / 2)
        pinned = pinned_copy_s(message["hidden_states"]) if on_gpu else 0.0
        if rank == 0:
            table.append((name, *(statistics.median(times[kind]) for kind in kinds), pinned))
    if rank == 0:
        results.put(table)
    group.barrier()


def pinned_copy_s(tensor: torch.Tensor) -> float:
    """Half of a copy to pinned memory and back."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        host.copy_(tensor, non_blocking=True)
        tensor.copy_(host, non_blocking=True)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times) / 2


if __name__ == "__main__":
    main()

"""All-reduce between a GPU rank and a CPU rank: the bridge against Gloo on host copies.

    python benchmarks/collectives.py [--threads N]

A tensor-parallel layer needs two of these. A time is that of one all-reduce, from both
ranks having their part to the GPU rank being able to use the sum. ``Gloo`` copies the GPU's
part to the host, lets Gloo sum, and copies back: what a mixed group would do without a bridge.
Without a GPU both ends are on the CPU. Prints a table; all rows are measured in one run.
"""

import os
import statistics
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from two_ranks import device_of, on_two_ranks, start_together

from vllm_hetero.calibration.pair import synchronize

CASES = {
    "8 KB (1 x 4096 bf16)": (1, 300),
    "512 KB (64 x 4096 bf16)": (64, 300),
    "64 MB (8192 x 4096 bf16)": (8192, 12),
}
HIDDEN = 4096
WARM_UP = 5


def main() -> None:
    table = on_two_ranks(run, __doc__)
    print(f"{'all-reduce':28} {'bridge':>11} {'Gloo':>11} {'Gloo/bridge':>12}")
    for name, bridge, gloo in table:
        print(f"{name:28} {bridge * 1e6:9.1f}us {gloo * 1e6:9.1f}us {gloo / bridge:12.1f}")


def run(rank: int, port: int, threads: int, results: "mp.Queue") -> None:
    device = device_of(rank, threads)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    bridge = make_bridge(rank, device)
    kinds: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "bridge": bridge.all_reduce,
        "gloo": gloo_all_reduce,
    }
    table = []
    for name, (rows, rounds) in CASES.items():
        part = torch.ones(rows, HIDDEN, dtype=torch.bfloat16, device=device)
        # Alternating, so that drift hits both alike.
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for i in range(rounds + WARM_UP):
            for kind, all_reduce in kinds.items():
                dist.barrier()
                start_together(rank)
                started = time.perf_counter()
                total = all_reduce(part)
                synchronize(device)
                if i >= WARM_UP:
                    times[kind].append(time.perf_counter() - started)
                assert total[0, 0] == 2
        table.append((name, *(statistics.median(times[kind]) for kind in kinds)))
    if rank == 0:
        results.put(table)
    dist.barrier()


def make_bridge(rank: int, device: torch.device):
    from vllm_hetero.collectives.bridge import Bridge, bridge_bytes
    from vllm_hetero.hops import segment

    # The CPU rank (1) makes the segment, as in an engine.
    made = segment.create(bridge_bytes(2)) if rank == 1 else None
    name = [made[0] if made else None]
    dist.broadcast_object_list(name, src=1)
    mapping = made[1] if made else segment.attach(name[0])
    dist.barrier()
    return Bridge(mapping, [True, False], rank, os.getpid(), device, None)


def gloo_all_reduce(part: torch.Tensor) -> torch.Tensor:
    host = part.cpu() if part.is_cuda else part.clone()
    dist.all_reduce(host)
    return host.to(part.device)


if __name__ == "__main__":
    main()

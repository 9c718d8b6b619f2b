"""Where the time of a pipeline hop goes, on both sides.

    python benchmarks/hop_parts.py [--threads N]

Two ranks, as in hops.py, send a message back and forth through shared memory. Printed are the
moments of a round trip, in microseconds from its beginning (medians; both processes read one
clock). Before each round trip the ranks have done nothing for a while: the longer, the colder
the caches are that they begin with.
"""

import statistics
import time

import torch
import torch.multiprocessing as mp
from two_ranks import device_of, on_two_ranks

from vllm_hetero.calibration.pair import Pair, message_bytes, synchronize
from vllm_hetero.calibration.shapes import HIDDEN

ROWS = (1, 64)
IDLE_S = (0.2e-3, 1e-3, 30e-3)
ROUNDS = 120
WARM_UP = 20
MOMENTS = ("sent", "other sees", "other has", "other sent", "sees", "received", "on the GPU")


def main() -> None:
    table = on_two_ranks(run, __doc__)
    print(f"{'message':16} {'idle':>8} " + " ".join(f"{moment:>11}" for moment in MOMENTS))
    for rows, idle_s, moments in table:
        cells = " ".join(f"{seconds * 1e6:11.1f}" for seconds in moments)
        print(f"{f'{rows} x {HIDDEN} bf16':16} {idle_s * 1e3:6.1f}ms {cells}")


def run(rank: int, port: int, threads: int, results: "mp.Queue") -> None:
    from vllm_hetero.hops.between_two import join, shm_ends

    device = device_of(rank, threads)
    group = join(rank, f"tcp://127.0.0.1:{port}", device, max(ROWS))
    pair = Pair(*shm_ends(group, message_bytes(max(ROWS)), max(ROWS)), device)
    seen = Seen(pair.receiver.ring)
    cases = []
    for rows in ROWS:
        message = {"hidden_states": torch.ones(rows, HIDDEN, dtype=torch.bfloat16, device=device)}
        for idle_s in IDLE_S:
            moments = []
            for _ in range(ROUNDS):
                group.barrier()
                if rank == 0:
                    moments.append(first(pair, message, seen, idle_s, device))
                else:
                    moments.append(second(pair, seen))
            cases.append((rows, idle_s, moments[WARM_UP:]))
    if rank == 1:
        group.send_object(cases, dst=0)
        return
    others = group.recv_object(src=1)
    results.put(
        [
            (rows, idle_s, together(own, other))
            for (rows, idle_s, own), (_, _, other) in zip(cases, others, strict=True)
        ]
    )


class Seen:
    """When a ring last handed out a record."""

    def __init__(self, ring) -> None:
        self.at = 0.0
        following = ring.next

        def noted():
            record = following()
            self.at = time.perf_counter()
            return record

        ring.next = noted


def first(pair, message: dict, seen: Seen, idle_s: float, device: torch.device) -> list[float]:
    begin = time.perf_counter() + idle_s
    while time.perf_counter() < begin:
        pass
    synchronize(device)
    moments = [time.perf_counter()]
    pair.sender.send(message)
    moments.append(time.perf_counter())
    pair.receiver.recv()
    moments += [seen.at, time.perf_counter()]
    synchronize(device)
    return [*moments, time.perf_counter()]


def second(pair, seen: Seen) -> list[float]:
    received = pair.receiver.recv()
    moments = [seen.at, time.perf_counter()]
    pair.sender.send(received)
    return [*moments, time.perf_counter()]


def together(own: list[list[float]], other: list[list[float]]) -> list[float]:
    """The medians of all moments, in the order of :data:`MOMENTS`."""
    rounds = [
        [at - begin for at in (sent, *others, *rest)]
        for (begin, sent, *rest), others in zip(own, other, strict=True)
    ]
    return [statistics.median(moments) for moments in zip(*rounds, strict=True)]


if __name__ == "__main__":
    main()

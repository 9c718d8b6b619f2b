"""Runs a benchmark's two ranks, each in a process of its own."""

import argparse
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import torch.multiprocessing as mp

TIMEOUT_S = 300
_SETTLE_S = 1e-3


def on_two_ranks(run: Callable[[int, int, int, "mp.Queue"], None], description: str) -> Any:
    """Start ``run(rank, port, threads, results)`` twice; what rank 0 puts into ``results``.

    Reads ``--threads`` from the command line, whose help begins with ``description``.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--threads", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1))
    threads = parser.parse_args().threads
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.Queue()
    ranks = [
        context.Process(target=run, args=(rank, port, threads, results), daemon=True)
        for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    table = results.get(timeout=TIMEOUT_S)
    for rank in ranks:
        rank.join(30)
    return table


def start_together(rank: int) -> None:
    """Let rank 0 begin a measurement when rank 1 has left the barrier before it for certain.

    A barrier wakes its members up to 0.1 ms after one another, which is not to be measured.
    """
    if rank == 0:
        time.sleep(_SETTLE_S)

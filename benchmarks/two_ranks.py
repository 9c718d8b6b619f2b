"""Runs a benchmark's two ranks, each in a process of its own, placed as an engine places them."""

import argparse
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.multiprocessing as mp

TIMEOUT_S = 300

Run = Callable[[int, int, int, "mp.Queue"], None]


def on_two_ranks(run: Run, description: str) -> Any:
    """Start ``run(rank, port, threads, results)`` twice; what rank 0 puts into ``results``.

    Rank 1 has the environment, the CPUs and the ``threads`` of a CPU rank; rank 0 keeps to the
    CPU that is left to the engine. Reads ``--threads`` from the command line, whose help begins
    with ``description``.
    """
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--threads", type=int, default=max(1, len(cpus) - 1))
    threads = parser.parse_args().threads
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.Queue()
    places = [cpus[:1], cpus[-threads:]]
    ranks = []
    for rank, place in enumerate(places):
        arguments = (run, place, rank, port, threads, results)
        ranks.append(context.Process(target=_placed, args=arguments, daemon=True))
        with _environment_of_a_cpu_rank(place) if rank else _unchanged():
            ranks[-1].start()
    table = results.get(timeout=TIMEOUT_S)
    for rank in ranks:
        rank.join(30)
    return table


def device_of(rank: int, threads: int) -> torch.device:
    """Rank 0's GPU, if there is one, else the CPU, with as many threads as the rank may have."""
    on_gpu = rank == 0 and torch.cuda.is_available()
    torch.set_num_threads(1 if on_gpu else threads)
    return torch.device("cuda:0" if on_gpu else "cpu")


def start_together(rank: int) -> None:
    """Let rank 0 begin a measurement when rank 1 has left the barrier before it for certain.

    A barrier wakes its members up to 0.1 ms after one another, which is not to be measured.
    """
    if rank == 0:
        from vllm_hetero.calibration.pair import stay_awake

        stay_awake()


def _placed(run: Run, cpus: list[int], *arguments: Any) -> None:
    os.sched_setaffinity(0, cpus)
    run(*arguments)


@contextmanager
def _environment_of_a_cpu_rank(cpus: list[int]) -> Iterator[None]:
    """OpenMP and the loader read it when the process starts."""
    from vllm_hetero.rank_environment import cpu_rank_variables
    from vllm_hetero.rank_map import Rank

    before = dict(os.environ)
    for name, value in cpu_rank_variables(Rank(1, "cpu", cpus=tuple(cpus))).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _unchanged() -> Iterator[None]:
    yield

"""Where the API server and those who load it run: away from the threads that compute.

CPU ranks wait for their slowest thread, so a client that takes a millisecond of one CPU takes it
of all. The engine and the GPU ranks keep clear of them by themselves
(:mod:`vllm_hetero.cpu_assignment`).
"""

import os
from pathlib import Path

from hetctl.launch.command import LaunchCommand
from vllm_hetero import env
from vllm_hetero.affinity import bind_process
from vllm_hetero.cpu_assignment import other_cpus
from vllm_hetero.rank_map import RankMap
from vllm_hetero.topology import physical_cores


def spare_cpus(command: LaunchCommand) -> frozenset[int]:
    """CPUs that a server's CPU ranks leave to its API server and to clients on this machine.

    None where no rank computes on CPUs of its own, or where the engine and the GPU ranks need
    all that is left: waiting for each other costs more than what is taken from the CPU ranks.
    """
    text = command.env.get(env.RANK_MAP)
    if text is None:
        return frozenset()
    allowed = os.sched_getaffinity(0)
    return frozenset(other_cpus(RankMap.from_json(text), physical_cores(), allowed, more=1))


def bind_api_server(pid: int, command: LaunchCommand) -> None:
    """Move a server's first process there; too early, and its ranks would inherit it."""
    bind_process(spare_cpus(command), Path(f"/proc/{pid}/task"))

"""The environment that each rank's process starts with.

A rank resolves its platform, its CUDA devices and its OpenMP threads before any of our
code could run in it, so all of it must be in the environment before Python starts.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from vllm_hetero import env
from vllm_hetero.affinity import children_bound_to
from vllm_hetero.cpu_assignment import memory_nodes, other_cpus
from vllm_hetero.preload import preload_libraries
from vllm_hetero.rank_map import Rank, RankMap
from vllm_hetero.topology import node_cpus, physical_cores, usable_cores


class RankEnvironment:
    """Stands in for vLLM's ``OMPProcessManager``, which wraps each spawn.

    Where that one binds a rank to "the NUMA node of its number" and fails when ranks
    outnumber nodes, this one does what the rank map says, for CPU and GPU ranks alike.
    """

    def __init__(self, ranks: RankMap, run_dir: str) -> None:
        self.other_cpus = other_cpus(ranks, physical_cores(), os.sched_getaffinity(0))
        """Where GPU ranks and the engine run; empty if there is no room for them."""
        self._ranks = ranks
        self._run_dir = run_dir

    @contextmanager
    def configure_omp_envs(self, rank: int, local_rank: int) -> Iterator[None]:
        """Set the environment of ``rank`` while its process is spawned."""
        entry = self._ranks.ranks[rank]
        variables: dict[str, str | None] = {
            env.RANK_MAP: self._ranks.to_json(),
            env.RUN_DIR: self._run_dir,
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            **(cpu_rank_variables(entry) if entry.is_cpu else gpu_rank_variables()),
        }
        before = {name: os.environ.get(name) for name in variables}
        _apply(variables)
        try:
            with children_bound_to(entry.cpus if entry.is_cpu else self.other_cpus):
                yield
        finally:
            _apply(before)


def _apply(variables: Mapping[str, str | None]) -> None:
    """Set variables; None unsets."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def gpu_rank_variables() -> dict[str, str]:
    """One OpenMP thread, as vLLM sets for GPU workers: the cores belong to CPU ranks."""
    return {env.ROLE: "gpu", "OMP_NUM_THREADS": "1"}


def cpu_rank_variables(rank: Rank) -> dict[str, str | None]:
    """Role, devices, threads and preloaded libraries of a CPU rank; None unsets."""
    libraries = ":".join(preload_libraries())
    variables: dict[str, str | None] = {
        env.ROLE: "cpu",
        # An empty string would let vLLM believe that Triton can be used.
        "CUDA_VISIBLE_DEVICES": "-1",
        # Of a library of CUDA kernels that vLLM imports, which would start a process that compiles
        # its launcher, at each start again where there is no CUDA to link it with.
        "HUMMING_DISABLE_PARALLEL_BUILD": "1",
        # Unless asked for: layers run eagerly, and compiling what is left (random sampling)
        # would cost half a minute at each start and need a C++ compiler.
        "TORCHDYNAMO_DISABLE": None if env.compile_cpu_ranks() else "1",
        "LD_PRELOAD": libraries or None,
        "OMP_NUM_THREADS": str(len(rank.cpus) or _unpinned_threads(rank.numa_node)),
        # Of these, vLLM's CPU worker binds its memory to one, and our worker then to all.
        "CPU_VISIBLE_MEMORY_NODES": ",".join(map(str, own_memory_nodes(rank))),
    }
    if rank.cpus:
        # A user's own OpenMP settings would win over ours and put all ranks on the same cores.
        variables |= dict.fromkeys(_PINNING) | _affinity(rank.cpus, libraries)
    return variables


_PINNING = ("OMP_PLACES", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


def own_memory_nodes(rank: Rank) -> tuple[int, ...]:
    """The nodes that the memory of a CPU rank comes from on this machine."""
    return memory_nodes(rank, usable_cores(), node_cpus())


def _unpinned_threads(numa_node: int | None) -> int:
    """One thread per usable core, of the node if there is one."""
    cores = usable_cores()
    if numa_node in cores:
        return len(cores[numa_node])
    return sum(map(len, cores.values()))


def _affinity(cpus: tuple[int, ...], libraries: str) -> dict[str, str]:
    """Pin one OpenMP thread to each CPU, in the words of the OpenMP that is preloaded."""
    if "iomp" in libraries:
        places = ",".join(map(str, cpus))
        return {
            "KMP_AFFINITY": f"granularity=fine,explicit,proclist=[{places}]",
            # Milliseconds that a thread spins after a parallel region, as vLLM sets.
            "KMP_BLOCKTIME": "5",
            "KMP_TPAUSE": "0",
        }
    return {"GOMP_CPU_AFFINITY": " ".join(map(str, cpus))}

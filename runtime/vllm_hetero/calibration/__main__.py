"""The measuring process; see the package."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

from vllm_hetero import env
from vllm_hetero.calibration import Samples, attention, gpu, layer, memory, pair
from vllm_hetero.calibration.channel import Channel
from vllm_hetero.rank_map import Rank, RankMap


class Bench:
    """One rank, and what can be measured on it."""

    def __init__(self, rank: Rank, channel: Channel, kernels: bool) -> None:
        self._rank, self._channel = rank, channel
        self._device = torch.device(rank.device)
        self._kernels: ModuleType | None = None
        self._without_kernels = "they were not asked for"
        torch.set_grad_enabled(False)
        if not rank.is_cpu:
            torch.cuda.set_device(self._device)
            torch.zeros(1, device=self._device)
        if kernels:
            try:
                self._kernels = self._load_kernels()
            except (Exception, SystemExit) as error:
                # What needs none of them can still be measured.
                self._without_kernels = sentence(error)

    def measure(self, what: str, arguments: dict[str, Any]) -> Samples:
        """Run one of the measurements.

        Raises:
            Exception: it cannot be done; its text says why.
        """
        measurements = {
            "attention": self._with_kernels(attention.read_rate),
            "layer": self._with_kernels(layer.overhead),
            "hop": lambda **given: pair.hops(self._channel, self._device, **given),
            "all-reduce": lambda **given: pair.all_reduces(self._channel, self._device, **given),
            **(self._cpu() if self._rank.is_cpu else self._gpu()),
        }
        return measurements[what](**arguments)

    def _cpu(self) -> dict[str, Callable[..., Samples]]:
        def weights(**given: Any) -> Samples:
            self._require_kernels()
            from vllm_hetero.calibration.cpu_linear import weight_read_rate

            return weight_read_rate(**given)

        return {
            "memory": memory.read_rate,
            "memory-until-told": lambda **given: memory.read_until_told(self._channel, **given),
            "weights": weights,
        }

    def _gpu(self) -> dict[str, Callable[..., Samples]]:
        def on_device(measure: Callable[..., Samples]) -> Callable[..., Samples]:
            return lambda **given: measure(self._device, **given)

        return {
            "memory": on_device(gpu.memory_read_rate),
            "matrix": on_device(gpu.matrix_rate),
            "weights": on_device(gpu.weight_read_rate),
            "uva": on_device(gpu.uva_read_rate),
            "copies": on_device(gpu.copies),
            "peer": on_device(gpu.peer_copy_rate),
            "layer-in-graph": self._with_kernels(layer.overhead_in_graph),
        }

    def _with_kernels(self, measure: Callable[..., Samples]) -> Callable[..., Samples]:
        return lambda **given: measure(self._require_kernels(), self._device, **given)

    def _require_kernels(self) -> ModuleType:
        if self._kernels is None:
            raise RuntimeError(f"the kernels cannot be loaded: {self._without_kernels}")
        return self._kernels

    def _load_kernels(self) -> ModuleType:
        """Import what a rank imports, in its order; a CPU rank also binds its memory."""
        from vllm.platforms import current_platform

        if current_platform.is_cpu() != self._rank.is_cpu:
            raise RuntimeError(f"vLLM takes {self._rank.device} for {current_platform.device_name}")
        import vllm._custom_ops  # noqa: F401  (loads the operators)

        if self._rank.is_cpu:
            from vllm_hetero.compute_threads import settle
            from vllm_hetero.rank_environment import own_memory_nodes

            nodes = own_memory_nodes(self._rank)
            # As vLLM's CPU worker does in an engine.
            torch.ops._C.init_cpu_memory_env([nodes[0]])
            settle(self._rank, nodes)
            if torch.cpu._is_amx_tile_supported():
                # Asks the kernel for the tiles; in an engine, oneDNN has done so before attention.
                torch.cpu._init_amx()
        kind = "cpu" if self._rank.is_cpu else "gpu"
        return import_module(f"vllm_hetero.calibration.{kind}_kernels")


def main() -> None:
    """Answer commands until there are no more."""
    channel = Channel()
    number, *flags = sys.argv[1:]
    rank = RankMap.from_env(os.environ[env.RANK_MAP]).ranks[int(number)]
    bench = Bench(rank, channel, kernels=flags == ["--kernels"])
    channel.answer(ready=True)
    while (command := channel.command()) is not None:
        what = command.pop("measure")
        try:
            samples = bench.measure(what, command)
        except Exception as error:  # It is named, and what follows may well work.
            channel.answer(error=sentence(error))
        else:
            channel.answer(samples=samples)
        if not rank.is_cpu:
            torch.cuda.empty_cache()


def sentence(error: BaseException) -> str:
    """The first line of an error, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    main()

"""The rank map: which device, layers, CPUs and memory each rank of an engine gets.

It is the whole contract between whoever plans a run and this plugin: one JSON document,
handed over in the environment (``VLLM_HETERO_RANK_MAP``, the JSON itself or ``@FILE``).
``docs/architecture.md`` shows one. This module imports neither torch nor vLLM.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA = "vllm_hetero.rank_map/1"


class RankMapError(ValueError):
    """The rank map is malformed; the message names the rank and the field."""


@dataclass(frozen=True)
class Rank:
    """One worker process.

    Attributes:
        rank: Global rank in vLLM's order (pipeline stage major, tensor rank minor).
        device: ``cuda:N``, N counting the devices in ``CUDA_VISIBLE_DEVICES``, or ``cpu``.
        layers: Half-open range of layers of the rank's pipeline stage, or None to let
            vLLM divide the layers evenly.
        cpus: Logical CPUs that the compute threads are pinned to, one thread each; empty is
            the cores of ``numa_node``, or unpinned threads without one. CPU ranks only; ranks
            that take turns, as pipeline stages with one batch do, may share CPUs.
        numa_node: Node that the memory is bound to; None takes it from the nodes of ``cpus`` in
            turn, or of all usable cores where there are none. CPU ranks only.
        kv_cache_bytes: KV-cache budget of this rank, or None for vLLM's own rule on a GPU
            rank and a default on a CPU rank.
    """

    rank: int
    device: str
    layers: tuple[int, int] | None = None
    cpus: tuple[int, ...] = ()
    numa_node: int | None = None
    kv_cache_bytes: int | None = None

    @property
    def is_cpu(self) -> bool:
        return self.device == "cpu"

    @property
    def cuda_index(self) -> int | None:
        """N of ``cuda:N``; None for a CPU rank."""
        return None if self.is_cpu else int(self.device.removeprefix("cuda:"))


@dataclass(frozen=True)
class RankMap:
    """All ranks of one engine, ``ranks[i].rank == i``."""

    ranks: tuple[Rank, ...]

    @property
    def cpu_ranks(self) -> tuple[int, ...]:
        return tuple(r.rank for r in self.ranks if r.is_cpu)

    @property
    def gpu_ranks(self) -> tuple[int, ...]:
        return tuple(r.rank for r in self.ranks if not r.is_cpu)

    @property
    def is_mixed(self) -> bool:
        """Whether there are both GPU ranks and CPU ranks."""
        return bool(self.cpu_ranks and self.gpu_ranks)

    def layer_counts(self, tensor_parallel_size: int) -> tuple[int, ...] | None:
        """Layers per pipeline stage, or None when the map leaves them to vLLM."""
        firsts = self.ranks[::tensor_parallel_size]
        if any(r.layers is None for r in firsts):
            return None
        return tuple(r.layers[1] - r.layers[0] for r in firsts if r.layers)

    def mixed_groups(self, tensor_parallel_size: int) -> tuple[int, ...]:
        """Pipeline stages whose tensor-parallel ranks are not all on one kind of device."""
        stages = range(0, len(self.ranks), tensor_parallel_size)
        return tuple(
            first // tensor_parallel_size
            for first in stages
            if len({r.is_cpu for r in self.ranks[first : first + tensor_parallel_size]}) > 1
        )

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, "ranks": [asdict(r) for r in self.ranks]})

    @classmethod
    def from_json(cls, text: str) -> "RankMap":
        """Parse and check a rank map.

        Raises:
            RankMapError: not JSON, another schema, an unknown or missing field, ranks out
                of order, two GPU ranks on one device, or layers that do not follow on.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            # Not only JSONDecodeError: a number may be too long, or the nesting too deep.
            raise RankMapError(f"the rank map is not valid JSON: {error}") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise RankMapError(f"the rank map's schema is {found!r}, expected {SCHEMA!r}")
        entries = data.get("ranks")
        if not isinstance(entries, list) or not entries:
            raise RankMapError("the rank map lists no ranks")
        rank_map = cls(tuple(_rank(i, entry) for i, entry in enumerate(entries)))
        _check_devices(rank_map)
        _check_layers(rank_map)
        return rank_map

    @classmethod
    def from_env(cls, value: str) -> "RankMap":
        """The map in ``VLLM_HETERO_RANK_MAP``: JSON, or ``@`` and a file's path.

        Raises:
            RankMapError: as :meth:`from_json`, or the file cannot be read.
        """
        if value.startswith("@"):
            try:
                value = Path(value[1:]).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise RankMapError(f"cannot read the rank map {value[1:]}: {error}") from error
        return cls.from_json(value)


_FIELDS = {"rank", "device", "layers", "cpus", "numa_node", "kv_cache_bytes"}


def _rank(position: int, entry: Any) -> Rank:
    if not isinstance(entry, dict):
        raise RankMapError(f"rank {position} is not an object: {entry!r:.60}")
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise RankMapError(f"rank {position} has an unknown field {unknown[0]!r}")
    if entry.get("rank") != position or isinstance(entry.get("rank"), bool):
        raise RankMapError(f"entry {position} has rank {entry.get('rank')!r}, expected {position}")
    device = entry.get("device")
    if device != "cpu" and not (
        isinstance(device, str) and device.startswith("cuda:") and device[5:].isdecimal()
    ):
        raise RankMapError(f"rank {position} has device {device!r}, expected 'cpu' or 'cuda:N'")
    layers = entry.get("layers")
    if layers is not None:
        layers = _integers(position, "layers", layers)
        if len(layers) != 2 or layers[0] >= layers[1]:
            raise RankMapError(f"rank {position} has layers {list(layers)}, expected [first, end]")
    cpus = _integers(position, "cpus", entry.get("cpus") or [])
    if len(set(cpus)) != len(cpus):
        raise RankMapError(f"rank {position} names a CPU twice: {list(cpus)}")
    if device != "cpu" and (cpus or entry.get("numa_node") is not None):
        raise RankMapError(f"rank {position} is on {device}: cpus and numa_node are for CPU ranks")
    return Rank(
        rank=position,
        device=device,
        layers=(layers[0], layers[1]) if layers else None,
        cpus=cpus,
        numa_node=_optional_integer(position, "numa_node", entry.get("numa_node")),
        kv_cache_bytes=_optional_integer(position, "kv_cache_bytes", entry.get("kv_cache_bytes")),
    )


def _integers(position: int, field: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise RankMapError(f"rank {position}: {field} is {value!r:.60}, expected a list")
    return tuple(_integer(position, field, item) for item in value)


def _optional_integer(position: int, field: str, value: Any) -> int | None:
    return None if value is None else _integer(position, field, value)


def _integer(position: int, field: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RankMapError(
            f"rank {position}: {field} holds {value!r:.60}, expected an integer >= 0"
        )
    return value


def _check_devices(rank_map: RankMap) -> None:
    gpu_owner: dict[str, int] = {}
    for rank in rank_map.ranks:
        if not rank.is_cpu and (other := gpu_owner.setdefault(rank.device, rank.rank)) != rank.rank:
            raise RankMapError(f"ranks {other} and {rank.rank} are both on {rank.device}")


def _check_layers(rank_map: RankMap) -> None:
    with_layers = [r for r in rank_map.ranks if r.layers is not None]
    if not with_layers:
        return
    if len(with_layers) != len(rank_map.ranks):
        missing = next(r.rank for r in rank_map.ranks if r.layers is None)
        raise RankMapError(f"rank {missing} has no layers, but rank {with_layers[0].rank} has")
    stages = list(dict.fromkeys(r.layers for r in rank_map.ranks if r.layers))
    expected = 0
    for first, end in stages:
        if first != expected:
            raise RankMapError(f"layers [{first}, {end}) do not follow on layer {expected}")
        expected = end

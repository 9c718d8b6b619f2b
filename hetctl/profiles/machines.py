"""Machines by name: what a plan would be on hardware that is not at hand.

Each is a file in ``profiles/machines``; every figure in it says where it comes from.
"""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hetctl.document import first_problem
from hetctl.errors import HetctlError, UsageError
from hetctl.machine import Core, Cpu, Gpu, Machine, NumaNode
from hetctl.profiles.data import data_folders


def machine_names() -> list[str]:
    """The names that :func:`load_named_machine` knows, in order."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_named_machine(name: str) -> Machine:
    """The machine that ``profiles/machines/NAME.toml`` describes, idle.

    Raises:
        UsageError: no such machine; the known ones are listed.
        HetctlError: the data file is malformed.
    """
    names = machine_names()
    if name not in names:
        raise UsageError(
            f"{name!r} is neither a file nor a machine that hetctl knows; known machines: "
            f"{', '.join(names)}."
        )
    path = _folder() / f"{name}.toml"
    try:
        return _machine(name, tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise HetctlError(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        raise HetctlError(f"{path}: {first_problem(error)}") from error
    except (KeyError, TypeError) as error:
        raise HetctlError(f"{path} lacks or misuses a field: {error}.") from error


def _folder() -> Path:
    found = next((f / "machines" for f in data_folders() if (f / "machines").is_dir()), None)
    if found is None:
        raise HetctlError("hetctl's machine profiles are missing; reinstall hetctl.")
    return found


def _machine(name: str, data: dict[str, Any]) -> Machine:
    nodes = [node for entry in data["node"] for node in _nodes(entry)]
    # SMT siblings follow all the first threads, as Linux numbers them.
    siblings = sum(node["cores"] for node in nodes)
    first = 0
    placed = []
    for index, node in enumerate(nodes):
        cores, threads = node.pop("cores"), node.pop("threads_per_core", 1)
        placed.append(
            NumaNode(
                id=index,
                cores=tuple(
                    Core(cpus=tuple(cpu + siblings * t for t in range(threads)), socket=index)
                    for cpu in range(first, first + cores)
                ),
                **node,
            )
        )
        first += cores
    gpus = [gpu for entry in data.get("gpu", ()) for gpu in _gpus(entry)]
    return Machine(
        name=name,
        fingerprint=f"profile:{name}",
        cpu=Cpu(**data["cpu"], logical_cpus_online=sum(len(node.cpus) for node in placed)),
        numa_nodes=tuple(placed),
        gpus=tuple(Gpu(index=i, **gpu) for i, gpu in enumerate(gpus)),
        rate_notes=(f"Planned for another machine, {name}: {data['title']}.",),
    )


def _nodes(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """One set of fields for each of ``count`` equal nodes."""
    entry = dict(entry)
    count, memory = entry.pop("count", 1), entry.pop("memory_bytes")
    memories = {"memory_total_bytes": memory, "memory_free_bytes": memory}
    return [{**entry, **memories} for _ in range(count)]


def _gpus(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """One set of fields for each of ``count`` equal GPUs."""
    entry = dict(entry)
    count, memory = entry.pop("count", 1), entry.pop("memory_bytes")
    nodes, linked = entry.pop("numa_nodes"), entry.pop("nvlink", False)
    return [
        {
            **entry,
            "memory_total_bytes": memory,
            "memory_free_bytes": memory,
            "numa_node": nodes[i],
            "nvlink_peers": tuple(j for j in range(count) if linked and j != i),
        }
        for i in range(count)
    ]

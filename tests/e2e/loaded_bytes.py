"""A vLLM plugin for tests: each rank writes down how much of the checkpoint it read.

safetensors maps a file, so what a rank reads is the pages of the mapping that it touches,
and they stay resident in the rank while the mapping lives; this keeps it alive until all
weights are loaded. A file that is read by system calls counts as nothing read. The kernel
maps up to 2 MiB around a touched page: give this tensors that are larger.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

VARIABLE = "TEST_LOADED_BYTES"

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


def environment(folder: Path) -> dict[str, str]:
    """What to add to an engine's environment; writes the plugin's metadata to ``folder``."""
    info = folder / "loaded_bytes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loaded-bytes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[vllm.general_plugins]\nloaded_bytes = {__name__}:register\n"
    )
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, VARIABLE: str(folder)}


def loaded_bytes(folder: Path, model: Path) -> dict[int, int]:
    """Bytes that each rank of the engine with ``model`` read."""
    prefix = f"{model.name}-rank"
    return {
        int(file.stem.removeprefix(prefix)): json.loads(file.read_text())
        for file in folder.glob(f"{prefix}*.json")
    }


def register() -> None:
    """Entry point ``vllm.general_plugins``."""
    from vllm_hetero import env

    if env.role() == "engine":
        return
    from vllm.model_executor.model_loader import default_loader

    default_loader.safetensors_weights_iterator = _holding(
        default_loader.safetensors_weights_iterator
    )
    load_weights = default_loader.DefaultModelLoader.load_weights

    def counted(self: Any, model: Any, model_config: Any) -> None:
        from vllm.distributed import get_world_group

        load_weights(self, model, model_config)
        total = _resident_in_mappings()
        _held.clear()
        name = f"{Path(model_config.model).name}-rank{get_world_group().rank}.json"
        (Path(os.environ[VARIABLE]) / name).write_text(json.dumps(total))

    default_loader.DefaultModelLoader.load_weights = counted


_held: list[Any] = []


def _holding(iterator: Callable[..., Iterator[tuple[str, Any]]]) -> Any:
    def hold(*args: Any, **kwargs: Any) -> Iterator[tuple[str, Any]]:
        for name, tensor in iterator(*args, **kwargs):
            _held.append(tensor)
            yield name, tensor

    return hold


def _resident_in_mappings() -> int:
    total, wanted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if _MAPPING.match(line):
            wanted = line.endswith(".safetensors")
        elif wanted and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total

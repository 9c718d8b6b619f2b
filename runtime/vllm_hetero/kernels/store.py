"""The folder of installed kernels: where it is, and whether it is whole.

``CACHE/kernels/VERSION/MACHINE/`` holds the modules and ``manifest.json``. The folder
appears by one rename, after its files are on disk, so the manifest's presence means that
the installation ended; the sizes in it catch a file that was cut or removed afterwards.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vllm_hetero.kernels import host
from vllm_hetero.kernels.errors import KernelsError
from vllm_hetero.kernels.host import file_name

MANIFEST = "manifest.json"
SCHEMA = "vllm_hetero.kernels/1"


@dataclass(frozen=True)
class Module:
    """One extension module as it was installed."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was installed, and from which wheel."""

    vllm_version: str
    machine: str
    wheel: str
    wheel_sha256: str
    pinned: bool
    """Whether every hash is one of :data:`vllm_hetero.kernels.pins.PINS`."""
    modules: tuple[Module, ...]

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """The folder's manifest, or None when there is none that can be understood."""
        try:
            data: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if data.pop("schema") != SCHEMA:
                return None
            modules = tuple(Module(**module) for module in data.pop("modules"))
            return cls(**data, modules=modules)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def cache_dir() -> Path:
    """The user's cache folder of this plugin."""
    if chosen := os.environ.get("VLLM_HETERO_CACHE"):
        return Path(chosen).expanduser().absolute()
    # The XDG specification tells programs to ignore a relative path.
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(xdg) if xdg.startswith("/") else Path.home() / ".cache"
    return base / "vllm_hetero"


def store_dir() -> Path:
    """Where the kernels of the installed vLLM belong, present or not."""
    return cache_dir() / "kernels" / host.vllm_version() / host.machine()


def override_dir() -> Path | None:
    """The folder in ``VLLM_HETERO_KERNELS_DIR``, or None.

    Raises:
        KernelsError: the folder lacks the module that this CPU needs.
    """
    chosen = os.environ.get("VLLM_HETERO_KERNELS_DIR")
    if not chosen:
        return None
    folder = Path(chosen).expanduser().absolute()
    needed = file_name(host.required_module())
    if not (folder / needed).is_file():
        raise KernelsError(
            f"VLLM_HETERO_KERNELS_DIR is {folder}, which holds no {needed}, the module that "
            "this CPU needs: correct or unset it."
        )
    return folder


def is_whole(folder: Path) -> bool:
    """Whether the folder holds every module of its manifest, at its size. Cheap."""
    manifest = Manifest.read(folder)
    if manifest is None or not manifest.modules:
        return False
    return all(_size(folder / file_name(m.name)) == m.bytes for m in manifest.modules)


def kernels_dir() -> Path | None:
    """The folder to append to ``vllm.__path__``, or None when nothing is installed.

    Raises:
        KernelsError: vLLM is not installed, or ``VLLM_HETERO_KERNELS_DIR`` is wrong.
    """
    if chosen := override_dir():
        return chosen
    folder = store_dir()
    return folder if is_whole(folder) else None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None

"""What is installed, byte for byte."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vllm_hetero.kernels import host
from vllm_hetero.kernels.errors import KernelsError
from vllm_hetero.kernels.host import MODULES, file_name
from vllm_hetero.kernels.store import Manifest, override_dir, store_dir
from vllm_hetero.kernels.wheel import sha256

State = Literal["ok", "missing", "wrong size", "wrong hash", "not checked"]


@dataclass(frozen=True)
class ModuleStatus:
    """One extension module on disk. ``not checked``: no manifest says its hash."""

    name: str
    path: str
    bytes: int
    state: State


@dataclass(frozen=True)
class KernelStatus:
    """The kernels of the installed vLLM on this machine.

    Attributes:
        version: vLLM's version.
        path: Folder of the modules, installed or not.
        installed: Whether the module that this CPU needs is there, and every module has
            its hash.
        source: The wheel's requirement or path, or the environment variable that names
            the folder; None when nothing is installed.
        wheel_sha256: Hash of that wheel; None when it is not known.
        pinned: Whether the hashes are the ones that were tested.
        required_module: The module that vLLM imports on this CPU; None when none runs.
        problem: Why CPU ranks cannot run here; None when they can.
    """

    version: str
    machine: str
    path: str
    installed: bool
    source: str | None
    wheel_sha256: str | None
    pinned: bool
    modules: tuple[ModuleStatus, ...]
    required_module: str | None
    problem: str | None


def status() -> KernelStatus:
    """Read and hash what is installed (about a second).

    Raises:
        KernelsError: vLLM is not installed, or ``VLLM_HETERO_KERNELS_DIR`` is wrong.
    """
    required, problem = _host()
    override = override_dir() if required else None
    folder = override or store_dir()
    manifest = None if override else Manifest.read(folder)
    modules = _given(folder) if override else _installed(folder, manifest)
    sound = all(m.state in ("ok", "not checked") for m in modules)
    installed = sound and required in {m.name for m in modules}
    source = manifest.wheel if manifest else None
    return KernelStatus(
        version=host.vllm_version(),
        machine=host.machine(),
        path=str(folder),
        installed=installed,
        source="VLLM_HETERO_KERNELS_DIR" if override else source,
        wheel_sha256=manifest.wheel_sha256 if manifest else None,
        pinned=manifest is not None and manifest.pinned,
        modules=modules,
        required_module=required,
        problem=problem,
    )


def damaged(folder: Path) -> tuple[ModuleStatus, ...]:
    """The modules of an installation that are not as they were installed."""
    return tuple(m for m in _installed(folder, Manifest.read(folder)) if m.state != "ok")


def _host() -> tuple[str | None, str | None]:
    try:
        required = host.required_module()
    except KernelsError as error:
        return None, str(error)
    try:
        host.check_libraries()
    except KernelsError as error:
        return required, str(error)
    return required, None


def _installed(folder: Path, manifest: Manifest | None) -> tuple[ModuleStatus, ...]:
    found = []
    for module in manifest.modules if manifest else ():
        path = folder / file_name(module.name)
        size = path.stat().st_size if path.is_file() else 0
        state: State = "ok"
        if not path.is_file():
            state = "missing"
        elif size != module.bytes:
            state = "wrong size"
        elif sha256(path) != module.sha256:
            state = "wrong hash"
        found.append(ModuleStatus(module.name, str(path), size, state))
    return tuple(found)


def _given(folder: Path) -> tuple[ModuleStatus, ...]:
    paths = ((name, folder / file_name(name)) for name in MODULES)
    return tuple(
        ModuleStatus(name, str(path), path.stat().st_size, "not checked")
        for name, path in paths
        if path.is_file()
    )

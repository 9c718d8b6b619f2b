"""The module is chosen as vLLM chooses it, and a machine that has none is told so."""

import ctypes
from importlib import metadata
from pathlib import Path

import pytest

from vllm_hetero.kernels import KernelsError, ensure_kernels, host, kernels_dir, status

REAL_FLAGS = host.cpu_flags
REAL_VERSION = host.vllm_version


@pytest.mark.parametrize(
    ("flags", "module"),
    [
        ("sse4_2 avx2 avx512f avx512_bf16 amx_bf16", "_C"),
        ("sse4_2 avx2 avx512f", "_C_AVX512"),
        ("sse4_2 avx2", "_C_AVX2"),
    ],
)
def test_the_module_follows_the_flags_in_cpuinfo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, module: str
) -> None:
    (tmp_path / "cpuinfo").write_text(
        f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t\t: avx512f\n"
    )
    monkeypatch.setattr(host, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(host, "cpu_flags", REAL_FLAGS)
    assert host.required_module() == module


def test_a_cpu_without_avx2_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset({"sse4_2"}))
    with pytest.raises(KernelsError, match="missing CPU ISA: avx2"):
        ensure_kernels()
    assert "missing CPU ISA" in str(status().problem)


def test_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "machine", lambda: "aarch64")
    with pytest.raises(KernelsError, match="is aarch64, but CPU ranks need x86_64"):
        ensure_kernels()


def test_a_machine_without_libnuma_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(KernelsError, match=r"libnuma\.so\.1.*libnuma1"):
        ensure_kernels()


def test_the_version_has_no_local_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "0.26.0+cu129")
    assert REAL_VERSION() == "0.26.0"


def test_without_vllm_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(KernelsError, match="vLLM is not installed"):
        REAL_VERSION()


def test_a_folder_can_be_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_C.abi3.so").write_bytes(b"anything")
    monkeypatch.setenv("VLLM_HETERO_KERNELS_DIR", str(tmp_path))
    assert kernels_dir() == ensure_kernels() == tmp_path
    assert status().installed
    assert [m.state for m in status().modules] == ["not checked"]


def test_a_folder_without_this_cpus_module_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_C_AVX2.abi3.so").touch()
    monkeypatch.setenv("VLLM_HETERO_KERNELS_DIR", str(tmp_path))
    with pytest.raises(KernelsError, match=r"holds no _C\.abi3\.so"):
        kernels_dir()


def test_the_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm_hetero.kernels.store import cache_dir

    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("VLLM_HETERO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/vllm_hetero")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == Path.home() / ".cache" / "vllm_hetero"

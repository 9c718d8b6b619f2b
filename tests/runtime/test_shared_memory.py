"""The room that an engine needs in /dev/shm, and what killed ranks leave there."""

from pathlib import Path

import pytest

from vllm_hetero import shared_memory
from vllm_hetero.shared_memory import SharedMemoryError, remove_group_segments, require_room


def test_too_little_room_is_refused_with_what_is_needed_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "free_bytes", lambda folder: 12 << 20)
    require_room(2, tmp_path)
    with pytest.raises(SharedMemoryError, match=r"12 MiB free, .* of 3 ranks need 16 MiB; .*--shm"):
        require_room(3, tmp_path)


def test_a_machine_without_shared_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SharedMemoryError, match="mount a tmpfs there"):
        require_room(2, tmp_path / "missing")


def test_only_this_engines_segments_are_removed(tmp_path: Path) -> None:
    own = [tmp_path / "41601-tp:0-[0-1]-cpushm_0", tmp_path / "41601-tp:1-[2-3]-cpushm_1"]
    others = [tmp_path / "4160-tp:0-[0-1]-cpushm_0", tmp_path / "41601-weights.safetensors"]
    for file in own + others:
        file.touch()
    remove_group_segments("tcp://127.0.0.1:41601", tmp_path)
    assert set(tmp_path.iterdir()) == set(others)

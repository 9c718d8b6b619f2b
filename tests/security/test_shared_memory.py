"""Shared memory between ranks: for this user alone, under names nobody guesses, and gone after."""

import os
import re
import stat
from pathlib import Path

import pytest

from vllm_hetero import rank_memory
from vllm_hetero.hops import segment
from vllm_hetero.metrics import record

GUESSED_BITS = 64


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which segments get names, as where ranks may not look into each other."""
    monkeypatch.setattr(segment, "unnamed", lambda: False)
    monkeypatch.setattr(segment.shared_memory, "FOLDER", tmp_path)
    return tmp_path


def mode(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_a_segment_is_for_its_user_alone_with_a_name_and_without() -> None:
    if not segment.unnamed():
        pytest.skip("ranks may not look into each other here")
    path, mapping = segment.create(4096)
    assert path.startswith("/proc/")
    assert mode(path) == 0o600
    mapping.close()
    os.close(int(path.rpartition("/")[2]))


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_named_segment_is_for_its_user_alone_whatever_the_umask(named: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path, mapping = segment.create(4096)
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    mapping.close()
    segment.attach(path).close()
    assert list(named.iterdir()) == []


def test_names_cannot_be_guessed(named: Path) -> None:
    paths = {segment.create(4096)[0] for _ in range(8)}
    drawn = {re.fullmatch(r"vllm_hetero-([0-9a-f]+)", Path(path).name)[1] for path in paths}  # type: ignore[index]
    assert len(drawn) == 8
    assert all(4 * len(name) >= GUESSED_BITS for name in drawn)


def test_a_link_in_a_segment_s_place_is_not_followed(
    named: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path_factory.mktemp("theirs") / "file"
    theirs.write_bytes(b"precious")
    monkeypatch.setattr(segment.secrets, "token_hex", lambda count: "known")
    planted = named / "vllm_hetero-known"
    planted.symlink_to(theirs)
    with pytest.raises(segment.SegmentError):
        segment.create(4096)
    planted.unlink(missing_ok=True)
    planted.symlink_to(theirs)
    with pytest.raises(segment.SegmentError, match="cannot open the shared memory"):
        segment.attach(str(planted))
    assert theirs.read_bytes() == b"precious"


def test_a_rank_s_counters_are_for_its_user_alone_and_never_follow_a_link(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"precious")
    (tmp_path / "rank-0").symlink_to(theirs)
    record.create(tmp_path, 0)
    assert theirs.read_bytes() == b"precious"
    assert not (tmp_path / "rank-0").is_symlink()
    assert mode(tmp_path / "rank-0") == 0o600


def test_the_report_of_memory_never_follows_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"precious")
    drawn: list[int] = []

    def known(count: int) -> str:
        drawn.append(count)
        return "known"

    monkeypatch.setattr(rank_memory.secrets, "token_hex", known)
    (tmp_path / ".m.json.known").symlink_to(theirs)
    with pytest.raises(FileExistsError):
        rank_memory.write_report(tmp_path / "m.json", ())
    assert theirs.read_bytes() == b"precious"
    assert [8 * count >= GUESSED_BITS for count in drawn] == [True]

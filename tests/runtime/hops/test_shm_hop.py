"""A hop between two processes: every tensor arrives as it was sent."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm_hetero.hops import segment
from vllm_hetero.hops.message import DESCRIPTOR_BYTES, layout_of, read_descriptor, write_descriptor
from vllm_hetero.hops.shm import ShmReceiver, create_segment, segment_bytes
from vllm_hetero.waiting import PeerGoneError

CPU = torch.device("cpu")

SENDER = """
import sys, time
import torch
from vllm_hetero.hops import segment
from vllm_hetero.hops.shm import ShmSender

name, count, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sender = ShmSender(segment.attach(name), torch.device("cpu"))
generator = torch.Generator().manual_seed(7)
for i in range(count):
    hidden = torch.randn(rows + i % 3, 256, generator=generator).to(torch.bfloat16)
    residual = torch.randn(rows + i % 3, 256, generator=generator)
    sender.send({"hidden_states": hidden, "residual": residual})
"""


def spawn_sender(name: str, count: int, rows: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SENDER, name, str(count), str(rows)])


@pytest.mark.parametrize(
    ("count", "rows"),
    [(200, 5), (6, 4000)],
    ids=["many small messages wrap around", "messages larger than the ring come in parts"],
)
def test_tensors_arrive_bit_for_bit(count: int, rows: int) -> None:
    name, mapping = segment.create(segment_bytes(1 << 20))
    receiver = ShmReceiver(mapping, CPU, max_tokens=8)
    sender = spawn_sender(name, count, rows)
    generator = torch.Generator().manual_seed(7)
    for i in range(count):
        hidden = torch.randn(rows + i % 3, 256, generator=generator).to(torch.bfloat16)
        residual = torch.randn(rows + i % 3, 256, generator=generator)
        received = receiver.recv()
        assert list(received) == ["hidden_states", "residual"]
        assert torch.equal(received["hidden_states"], hidden)
        assert torch.equal(received["residual"], residual)
    assert sender.wait(30) == 0


def test_a_sender_that_ends_is_noticed() -> None:
    name, mapping = segment.create(segment_bytes(1 << 20))
    receiver = ShmReceiver(mapping, CPU, max_tokens=8)
    sender = spawn_sender(name, 1, 2)
    receiver.recv()
    sender.wait(30)
    with pytest.raises(PeerGoneError):
        receiver.recv()


def in_dev_shm() -> set[Path]:
    return set(Path("/dev/shm").glob("vllm_hetero-*"))


def test_the_memory_never_has_a_name() -> None:
    before = in_dev_shm()
    path, mapping = segment.create(1 << 16)
    mapping[:5] = b"hello"
    assert segment.attach(path)[:5] == b"hello"
    assert in_dev_shm() == before


def test_without_proc_it_has_a_name_until_both_ends_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segment, "unnamed", lambda: False)
    path, mapping = segment.create(1 << 16)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    mapping[:5] = b"hello"
    assert segment.attach(path)[:5] == b"hello"
    assert not Path(path).exists()


def test_ranks_that_may_not_look_into_each_other_fall_back_to_a_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(segment, "_PROC", tmp_path)
    segment.unnamed.cache_clear()
    try:
        assert not segment.unnamed()
    finally:
        segment.unnamed.cache_clear()


def test_a_full_dev_shm_is_refused_with_the_remedy_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segment, "unnamed", lambda: False)
    before = in_dev_shm()
    with pytest.raises(segment.SegmentError, match=r"MiB free .* enlarge it .*--shm-size"):
        segment.create(segment.free_bytes() + (1 << 30))
    assert in_dev_shm() == before


def test_more_than_the_memory_is_refused_before_the_kernel_kills_someone() -> None:
    with pytest.raises(segment.SegmentError, match="MiB of memory are free"):
        segment.create(segment.free_bytes() + (1 << 30))


def test_a_short_dev_shm_gets_a_smaller_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "free_bytes", lambda: 10 << 20)
    name, mapping = create_segment(message_bytes=256 << 20)
    segment.attach(name)
    assert segment_bytes(1 << 20) <= len(mapping) <= 5 << 20


shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)
dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int32, torch.uint8])


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(shapes, dtypes), max_size=6))
@settings(max_examples=80, deadline=None)
def test_a_descriptor_tells_what_it_was_told(wanted: dict) -> None:
    tensors = {name: torch.zeros(s, dtype=d) for name, (s, d) in wanted.items() if "\0" not in name}
    layout = layout_of(tensors)
    record = memoryview(bytearray(DESCRIPTOR_BYTES))
    write_descriptor(record, 0, layout)
    assert read_descriptor(record, 0) == layout


@pytest.mark.parametrize(
    "tensors",
    [
        {"step": 3},
        {f"t{i}": torch.zeros(1) for i in range(7)},
        {"x" * 41: torch.zeros(1)},
        {"t": torch.zeros(1, 1, 1, 1, 1)},
        {"t": torch.zeros(1, dtype=torch.complex64)},
    ],
)
def test_what_a_descriptor_cannot_hold_is_refused(tensors: dict) -> None:
    with pytest.raises(ValueError, match="hop"):
        layout_of(tensors)

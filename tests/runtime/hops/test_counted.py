"""Ends of a hop count what they send and receive, and how long they wait."""

import threading
import time
from pathlib import Path

import pytest
import torch

from vllm_hetero.hops import segment
from vllm_hetero.hops.connect import Hops, _count
from vllm_hetero.hops.counted import CountedReceiver, CountedSender
from vllm_hetero.hops.shm import ShmReceiver, ShmSender, segment_bytes
from vllm_hetero.metrics import record
from vllm_hetero.metrics.record import RankRecord, Word

CPU = torch.device("cpu")
# No multiple of 64 bytes, by which a ring aligns its tensors.
MESSAGE = {
    "hidden_states": torch.ones(3, 7, dtype=torch.bfloat16),
    "residual": torch.ones(3, 7, dtype=torch.float32),
}
MESSAGE_BYTES = 3 * 7 * (2 + 4)


@pytest.fixture
def own(tmp_path: Path) -> RankRecord:
    record.create(tmp_path, 0)
    return RankRecord(tmp_path, 0)


def shm_hops() -> Hops:
    name, mapping = segment.create(segment_bytes(1 << 20))
    sender = ShmSender(segment.attach(name), CPU)
    return Hops({1: sender}, {1: ShmReceiver(mapping, CPU, max_tokens=8)})


def test_both_ends_count_the_tensors_and_nothing_else(own: RankRecord, tmp_path: Path) -> None:
    hops = shm_hops()
    sender = CountedSender(hops.senders[1], own)
    receiver = CountedReceiver(hops.receivers[1], own)
    for _ in range(5):
        sender.send(MESSAGE)
        received = receiver.recv()
        assert torch.equal(received["residual"], MESSAGE["residual"])
    told = record.read(tmp_path, 0)
    assert told[Word.SENT_BYTES] == told[Word.RECEIVED_BYTES] == 5 * MESSAGE_BYTES
    assert told[Word.SEND_SECONDS] > 0


def test_waiting_for_the_other_end_is_counted(own: RankRecord, tmp_path: Path) -> None:
    hops = shm_hops()
    receiver = CountedReceiver(hops.receivers[1], own)
    seen = []

    def send() -> None:
        seen.append(record.read(tmp_path, 0))
        hops.senders[1].send(MESSAGE)

    thread = threading.Timer(0.2, send)
    began = time.perf_counter()
    thread.start()
    assert record.read(tmp_path, 0)[Word.RECEIVE_BEGUN] == 0
    receiver.recv()
    passed = time.perf_counter() - began
    thread.join()
    told = record.read(tmp_path, 0)
    assert 0.15 < told[Word.RECEIVE_SECONDS] <= passed
    assert 0.0 < seen[0][Word.RECEIVE_BEGUN] <= time.monotonic()
    assert told[Word.RECEIVE_BEGUN] == 0


def test_a_rank_tells_of_the_hops_that_it_has(
    own: RankRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hops = shm_hops()
    hops.receivers.clear()
    monkeypatch.setattr(record, "_own", own)
    _count(hops)
    hops.senders[1].send(MESSAGE)
    told = record.read(tmp_path, 0)
    assert told[Word.SENT_BYTES] == MESSAGE_BYTES
    assert not {Word.RECEIVED_BYTES, Word.RECEIVE_SECONDS} & told.keys()


def test_outside_of_an_engine_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    hops = shm_hops()
    monkeypatch.setattr(record, "_own", None)
    _count(hops)
    assert isinstance(hops.senders[1], ShmSender)
    assert isinstance(hops.receivers[1], ShmReceiver)

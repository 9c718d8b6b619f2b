"""The ring of bytes: order, wrap-around, back-pressure, and a peer that ends."""

import mmap
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm_hetero.hops.ring import ALIGNMENT, DATA_OFFSET, Ring
from vllm_hetero.waiting import PeerGoneError

CAPACITY = 64 * ALIGNMENT


def two_ends() -> tuple[memoryview, Ring, Ring]:
    view = memoryview(mmap.mmap(-1, DATA_OFFSET + CAPACITY))
    return view, Ring(view), Ring(view)


def send(view: memoryview, ring: Ring, payload: bytes) -> None:
    reservation = ring.reserve(ring.SIZE_BYTES + len(payload))
    start = reservation.offset + ring.SIZE_BYTES
    view[start : start + len(payload)] = payload
    ring.publish(reservation)


def receive(view: memoryview, ring: Ring, size: int) -> bytes:
    record = ring.next()
    start = record.offset + ring.SIZE_BYTES
    payload = bytes(view[start : start + size])
    ring.release(record)
    return payload


@given(st.lists(st.binary(max_size=CAPACITY // 2 - 8), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_what_is_sent_arrives_in_order_through_any_number_of_wraps(messages: list[bytes]) -> None:
    view, sender, receiver = two_ends()
    received: list[bytes] = []
    reader = threading.Thread(
        target=lambda: received.extend(receive(view, receiver, len(m)) for m in messages)
    )
    reader.start()
    for message in messages:
        send(view, sender, message)
    reader.join(10)
    assert received == messages


def test_a_sender_waits_until_there_is_room() -> None:
    view, sender, receiver = two_ends()
    half = bytes(CAPACITY // 2 - sender.SIZE_BYTES)
    send(view, sender, half)
    send(view, sender, half)
    third = threading.Thread(target=send, args=(view, sender, half))
    third.start()
    third.join(0.2)
    assert third.is_alive()
    receive(view, receiver, len(half))
    third.join(5)
    assert not third.is_alive()


def test_a_record_is_not_overwritten_before_it_is_released() -> None:
    view, sender, receiver = two_ends()
    send(view, sender, b"first")
    record = receiver.next()
    for _ in range(CAPACITY // ALIGNMENT - 1):
        send(view, sender, b"x")
    start = record.offset + receiver.SIZE_BYTES
    assert bytes(view[start : start + 5]) == b"first"


def test_a_record_larger_than_half_the_ring_is_refused() -> None:
    _, sender, _ = two_ends()
    with pytest.raises(ValueError, match="exceeds"):
        sender.reserve(CAPACITY // 2 + 1)


def test_waiting_for_a_sender_that_ended_raises() -> None:
    view, _, receiver = two_ends()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    # Where the ring keeps the sender's process id: see its module's docstring.
    view[128:136] = ended.pid.to_bytes(8, "little")
    started = time.monotonic()
    with pytest.raises(PeerGoneError, match="sender"):
        receiver.next()
    assert time.monotonic() - started < 5


def test_a_long_wait_sleeps() -> None:
    view, sender, receiver = two_ends()
    sender.attach_sender()
    threading.Timer(0.5, send, (view, sender, b"late")).start()
    before = os.times()
    assert receive(view, receiver, 4) == b"late"
    after = os.times()
    busy = (after.user - before.user) + (after.system - before.system)
    assert busy < 0.25, "half a second of waiting took more than half of a core"

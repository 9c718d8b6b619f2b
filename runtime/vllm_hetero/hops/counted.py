"""Ends of a hop that count into the record of this process's rank."""

import time
from typing import TYPE_CHECKING

from vllm_hetero.hops import Receiver, Sender, TensorDict
from vllm_hetero.hops.message import tensor_bytes
from vllm_hetero.metrics.record import RankRecord, Word

if TYPE_CHECKING:
    from vllm.distributed.parallel_state import Handle


class CountedSender:
    """A sender whose messages are counted."""

    def __init__(self, sender: Sender, record: RankRecord) -> None:
        self._sender = sender
        self._record = record
        for word in (Word.SEND_SECONDS, Word.SENT_BYTES):
            record.set(word, 0)

    def send(self, tensors: TensorDict) -> "list[Handle]":
        begun_s = time.monotonic()
        handles = self._sender.send(tensors)
        self._record.add(Word.SEND_SECONDS, time.monotonic() - begun_s)
        self._record.add(Word.SENT_BYTES, tensor_bytes(tensors))
        return handles

    def close(self) -> None:
        self._sender.close()


class CountedReceiver:
    """A receiver whose messages are counted."""

    def __init__(self, receiver: Receiver, record: RankRecord) -> None:
        self._receiver = receiver
        self._record = record
        for word in (Word.RECEIVE_BEGUN, Word.RECEIVE_SECONDS, Word.RECEIVED_BYTES):
            record.set(word, 0)

    def recv(self) -> TensorDict:
        record, begun_s = self._record, time.monotonic()
        record.set(Word.RECEIVE_BEGUN, begun_s)
        tensors = self._receiver.recv()
        record.add(Word.RECEIVE_SECONDS, time.monotonic() - begun_s)
        record.set(Word.RECEIVE_BEGUN, 0)
        record.add(Word.RECEIVED_BYTES, self._receiver.message_bytes)
        return tensors

    @property
    def message_bytes(self) -> int:
        return self._receiver.message_bytes

    def close(self) -> None:
        self._receiver.close()

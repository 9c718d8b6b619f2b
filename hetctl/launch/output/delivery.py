"""Records to somebody who may be slow, without waiting for it."""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from hetctl.launch.output.record import Record

_MOST_RECORDS = 10_000
_MOST_CHARACTERS = 16 * 1024**2


class Delivery:
    """Calls ``receive`` with each record, in order, on a thread of its own.

    Where it is slower than the records come, or raises, records are lost; an event ``records-lost``
    tells how many, as soon as it takes one again.
    """

    def __init__(self, receive: Callable[[Record], None]) -> None:
        self._receive = receive
        self._waiting: deque[Record] = deque()
        self._characters = 0
        self._lost = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-records", daemon=True)
        self._thread.start()

    def put(self, records: Iterable[Record]) -> None:
        """Hand records over; returns at once."""
        with self._changed:
            for record in records:
                characters = self._characters + len(record.message)
                if len(self._waiting) >= _MOST_RECORDS or characters > _MOST_CHARACTERS:
                    self._lost += 1
                    continue
                self._characters = characters
                self._waiting.append(record)
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Wait until everything is delivered, at most ``timeout_s`` seconds."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        lost = 0
        while batch := self._next():
            lost += sum(not self._deliver(record) for record in batch)
            with self._changed:
                lost, self._lost = lost + self._lost, 0
            if lost and self._deliver(_records_lost(lost)):
                lost = 0

    def _next(self) -> deque[Record]:
        """What waits to be delivered; empty once all is delivered and no more will come."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            batch, self._waiting, self._characters = self._waiting, deque(), 0
            return batch

    def _deliver(self, record: Record) -> bool:
        # Whatever it raises, the server's output must be read on.
        try:
            self._receive(record)
        except Exception:
            return False
        return True


def _records_lost(number: int) -> Record:
    return Record.of_event(
        "records-lost",
        f"{number} records were lost: nobody took them, or not as fast as they came.",
        level="WARNING",
        records=number,
    )

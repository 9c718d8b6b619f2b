"""Looks at one server again and again."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from hetctl.errors import UsageError
from hetctl.profiles.measured import load_profile
from hetctl.profiles.measured_file import profile_path
from hetctl.server_record import ServerRecord
from hetctl.top.frame import Frame
from hetctl.top.framing import Subject, frame_of
from hetctl.top.machine_use import MachineUse, Use
from hetctl.top.page import metrics_page
from hetctl.top.reading import Reading
from hetctl.top.samples import parse


class Watch:
    """One server. Each look shows what happened since the one before.

    Args:
        url: Of the server.
        record: Where hetctl started it, for this user on this machine.
        page: Asks the server for its metrics.
    """

    def __init__(
        self,
        url: str,
        record: ServerRecord | None,
        page: Callable[[str], str] = metrics_page,
    ) -> None:
        self._subject = subject(url, record)
        self._use = MachineUse(record.plan) if record else None
        self._page = page
        self._before: Reading | None = None

    def look(self) -> Frame:
        """What the server does now.

        Raises:
            NoAnswerError: it does not answer.
            HetctlError: what answers is no vLLM server.
        """
        url = self._subject.url
        asked_s = time.monotonic()
        page = self._page(url)
        # Half way: its figures are from some moment between question and answer.
        at_s = (asked_s + time.monotonic()) / 2
        use = self._use.read() if self._use else Use()
        now = Reading(at_s, parse(page, url), use)
        frame = frame_of(self._subject, self._before, now, datetime.now(UTC))
        self._before = now
        return frame

    def close(self) -> None:
        if self._use is not None:
            self._use.close()


def subject(url: str, record: ServerRecord | None) -> Subject:
    """The server with what was measured of its machine, if anything was."""
    path = profile_path(record.plan.machine_fingerprint) if record else None
    if path is None or not path.is_file():
        return Subject(url, record)
    try:
        nodes = load_profile(path).numa_nodes
    except UsageError as error:
        return Subject(url, record, notes=(str(error),))
    rates = {node.numa_node: node.memory_read_bytes_per_s for node in nodes}
    known = {node: rate.median for node, rate in rates.items() if rate is not None}
    return Subject(url, record, known)

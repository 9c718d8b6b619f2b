"""What systemd is told, by a socket as systemd makes it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hetctl.launch import notify
from hetctl.launch.notify import Notifier


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address[0] == "@" else address)
        listening.settimeout(5)
        yield listening


@pytest.mark.parametrize("abstract", [False, True])
def test_each_state_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    address = f"@hetctl-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with manager(address) as listening:
        notifier = Notifier()
        assert "NOTIFY_SOCKET" not in os.environ
        for say in (notifier.ready, notifier.alive, notifier.stopping):
            say()
        notifier.status("two\nlines")
        heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard[0].startswith("READY=1\n")
    assert heard[1] == "WATCHDOG=1"
    assert heard[2].startswith("STOPPING=1\n")
    assert heard[3] == "STATUS=two lines"


def test_a_manager_that_is_gone_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().ready()


def test_a_manager_that_does_not_read_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_LONGEST_S", 0.01)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with manager(str(tmp_path / "notify")):
        notifier = Notifier()
        for _ in range(600):
            notifier.alive()


def test_without_a_manager_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()

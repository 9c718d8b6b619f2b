"""Addresses as people write them, and what is said where no page of metrics is."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hetctl.errors import HetctlError, UsageError
from hetctl.launch.port import free_port
from hetctl.top.page import NoAnswerError, base_url_of, metrics_page


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("https://host/metrics", "https://host"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://proxy/models/a/v1/", "http://proxy/models/a"),
    ],
)
def test_an_address_may_be_written_in_several_ways(given: str, meant: str) -> None:
    assert base_url_of(given) == meant


@pytest.mark.parametrize(
    "given",
    ["", "http://", "ftp://host", "http://host:port", "http://host:99999", "a b", "h\n", "["],
)
def test_what_is_no_address_is_refused_by_name(given: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a server; write it like"):
        base_url_of(given)


class Answers(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"vllm:x 1\n" if self.path == "/metrics" else b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def answers() -> Iterator[type[Answers]]:
    class Fresh(Answers):
        port = 0

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    Fresh.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Fresh
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_is_fetched_without_the_environment_s_proxy(
    answers: type[Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert metrics_page(f"http://127.0.0.1:{answers.port}") == "vllm:x 1\n"


def test_who_has_no_such_page_is_no_server_and_one_in_trouble_may_recover(
    answers: type[Answers],
) -> None:
    url = f"http://127.0.0.1:{answers.port}"
    answers.status = 404
    with pytest.raises(HetctlError, match=r"shows no metrics \(HTTP 404") as caught:
        metrics_page(url)
    assert not isinstance(caught.value, NoAnswerError)
    answers.status = 503
    with pytest.raises(NoAnswerError, match="answers with HTTP 503"):
        metrics_page(url)


def test_who_does_not_answer_is_named_with_the_reason() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(NoAnswerError, match=rf"No server answers at {url} \(Connection refused\)"):
        metrics_page(url)


def test_who_accepts_and_says_nothing_does_not_answer() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoAnswerError, match="No server answers"):
            metrics_page(url, timeout_s=0.2)


def test_who_speaks_no_http_does_not_answer() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"220 welcome\r\n")
            connection.close()

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(NoAnswerError, match="No server answers"):
            metrics_page(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()

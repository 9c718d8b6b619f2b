"""Servers that somebody else started: found, asked and refused by name."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hetctl.bench import outside
from hetctl.bench.outside import (
    OutsideServer,
    ask,
    outside_configuration,
    parse_against,
    with_unique_names,
)
from hetctl.bench.results import Outside
from hetctl.errors import LaunchError, UsageError
from tests.bench import sample
from tests.bench.mock_server import MockServer


@contextmanager
def answering(code: int, body: bytes) -> Iterator[str]:
    """A server that answers everything with this."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h:8080", (None, "http://h:8080", None)),
        ("http://h:8080/v1/", (None, "http://h:8080", None)),
        ("llama.cpp=https://h/x#org/m", ("llama.cpp", "https://h/x", "org/m")),
        ("http://h:1/?a=http://b", (None, "http://h:1/?a=http://b", None)),
    ],
)
def test_urls_may_have_a_name_and_a_model(text: str, expected: tuple[str | None, ...]) -> None:
    assert parse_against(text) == expected


@pytest.mark.parametrize("text", ["h:8080", "name=h", "ftp://h", "", "My Name=http://h:1"])
def test_what_is_no_url_or_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--against"):
        parse_against(text)


def test_a_server_becomes_a_baseline_called_after_its_engine() -> None:
    with MockServer(model="org/m", owner="llamacpp") as server:
        found = outside_configuration(f"{server.base_url}/v1", needed_tokens=10)
        assert (found.name, found.role, found.model_name) == ("llama.cpp", "baseline", "org/m")
        assert found.outside == Outside(engine="llama.cpp", model_name="org/m", url=server.base_url)
        named = outside_configuration(f"mine={server.base_url}", needed_tokens=10)
        assert named.name == "mine"
        running = OutsideServer(found.outside)
        running.start()
        running.wait_ready(5, lambda _: None)
        running.require_alive()
        (body,) = server.requests
        assert (body["model"], body["max_tokens"]) == ("org/m", 1)
    with pytest.raises(LaunchError, match=r"cannot be reached: .*refused"):
        running.require_alive()


def test_one_of_several_models_must_be_chosen() -> None:
    with MockServer(model="one two") as server:
        with pytest.raises(
            UsageError, match=r"offers one, two; choose one with --against http:.*#"
        ):
            ask(server.base_url)
        assert ask(server.base_url, "two").model_name == "two"
        with pytest.raises(UsageError, match="does not offer three; it has one, two"):
            ask(server.base_url, "three")


@pytest.mark.parametrize(
    ("code", "body", "said"),
    [
        (401, b"", "answered with 401 Unauthorized; set OPENAI_API_KEY"),
        (500, b"", "answered with 500 Internal Server Error"),
        (200, b"<html>", "did not answer with JSON"),
        (200, b'{"data": "x"}', "does not list models as an OpenAI-compatible server does"),
        (200, b"[]", "does not list models"),
        (200, b'{"data": []}', "offers no model"),
    ],
)
def test_what_is_no_such_server_is_told_by_its_answer(code: int, body: bytes, said: str) -> None:
    with answering(code, body) as url, pytest.raises(LaunchError, match=said):
        ask(url)


def test_requests_that_the_server_cannot_hold_are_refused() -> None:
    body = b'{"data": [{"id": "m", "max_model_len": 100}]}'
    with answering(200, body) as url:
        assert outside_configuration(url, needed_tokens=100).name == "outside"
        with pytest.raises(UsageError, match="holds 100 tokens, and the workload has requests of"):
            outside_configuration(url, needed_tokens=101)


def test_a_server_without_completions_is_not_ready() -> None:
    with answering(200, b'{"error": "no completions here"}') as url:
        running = OutsideServer(Outside(engine="e", model_name="m", url=url))
        with pytest.raises(LaunchError, match=r"gave no text: .*no completions here"):
            running.wait_ready(5, lambda _: None)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(LaunchError, match="did not answer within 0 s"):
            ask(url)
        running = OutsideServer(Outside(engine="e", model_name="m", url=url))
        with pytest.raises(LaunchError, match="completions did not answer within 0 s"):
            running.wait_ready(0.2, lambda _: None)


def test_names_are_made_unique() -> None:
    found = with_unique_names((sample.CPU, sample.HYBRID, sample.CPU, sample.CPU))
    assert [one.name for one in found] == ["cpu", "hybrid", "cpu-2", "cpu-3"]

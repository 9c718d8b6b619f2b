"""Whatever does something wants the key; what only tells how the server is does not."""

import asyncio
from typing import Any

import pytest

from vllm_hetero.http.guarded import OPEN, Guarded

KEY = "0123456789abcdef"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


def status(path: str, authorization: bytes | None = None, **more: Any) -> int:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", authorization)] if authorization is not None else []
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, **more}
    asyncio.run(Guarded(app)(scope, lambda: None, send))  # type: ignore[arg-type, return-value]
    code: int = sent[0]["status"]
    return code


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)


# Of vLLM's own routes; its own check leaves all but the last three to anybody.
ROUTES = (
    *("/tokenize", "/detokenize", "/classify", "/pooling", "/score", "/rerank", "/invocations"),
    *("/pause", "/sleep", "/collective_rpc", "/reset_prefix_cache", "/openapi.json", "/"),
    *("/v1/completions", "/v2/embed", "/inference/v1/generate"),
)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("path", ROUTES)
def test_a_route_wants_the_key(path: str) -> None:
    assert status(path) == 401
    assert status(path, b"Bearer " + KEY.encode()) == 200


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("path", [*OPEN, "/health/"])
def test_health_and_metrics_are_read_without(path: str) -> None:
    assert status(path) == 200


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "authorization",
    [
        *(b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Bearer \xff\xfe"),
        *(b"Basic " + KEY.encode(), KEY.encode()),
        *(b"Bearer " + KEY[:-1].encode(), b"Bearer " + KEY.encode() + b"0"),
    ],
)
def test_nothing_but_the_key_is_the_key(authorization: bytes) -> None:
    assert status("/tokenize", authorization) == 401


@pytest.mark.usefixtures("key")
def test_a_path_cannot_be_dressed_up_as_an_open_one() -> None:
    assert status("/health/../tokenize") == 401
    assert status("//health") == 401
    assert status("/healthy") == 401
    assert status("/api/tokenize", root_path="/api") == 401
    assert status("/api/health", root_path="/api") == 200


@pytest.mark.usefixtures("key")
def test_a_browser_may_ask_what_it_may_send() -> None:
    assert status("/v1/completions", method="OPTIONS") == 200


def test_without_a_key_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    assert status("/tokenize") == 200

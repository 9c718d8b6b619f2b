"""A server that ends takes no new requests, and says so."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from vllm_hetero.http.draining import MARK, Draining


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})


def ask(middleware: Draining, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    asyncio.run(middleware(scope, lambda: None, send))  # type: ignore[arg-type, return-value]
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_requests_are_refused_from_the_mark_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", str(tmp_path))
    middleware = Draining(app)
    paths = ("/v1/completions", "/health", "/metrics")
    assert [ask(middleware, path)[0] for path in paths] == [200, 200, 200]
    (tmp_path / MARK).touch()
    assert [ask(middleware, path)[0] for path in paths] == [503, 503, 200]
    _, headers, body = ask(middleware, "/v1/completions")
    assert headers[b"retry-after"] == b"10"
    assert headers[b"connection"] == b"close"
    assert "shutting down" in json.loads(body)["error"]["message"]

"""What no client should send is the client's error; everything else passes as it is."""

import asyncio
import json
from typing import Any

import pytest

from vllm_hetero.http.well_formed import DEEPEST, WellFormed, problem

JSON = [(b"content-type", b"application/json; charset=utf-8")]


class Server:
    """An app behind the middleware, which answers with what it got."""

    def __init__(self, status: int = 200, said: bytes | None = None) -> None:
        self.status = status
        self.said = said
        self.got: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        self.got.append(body)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.said or body})


def post(
    server: Server, *parts: bytes, path: str = "/v1/completions", headers: Any = JSON, **more: Any
) -> tuple[int | None, bytes]:
    """Status and body of the answer; None where there is none."""
    sent: list[Any] = []
    pieces = [
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
        for index, part in enumerate(parts)
    ]
    pieces.append({"type": "http.disconnect"})

    async def receive() -> Any:
        return pieces.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, **more}
    asyncio.run(WellFormed(server)(scope, receive, send))
    status = next((m["status"] for m in sent if m["type"] == "http.response.start"), None)
    return status, b"".join(m.get("body", b"") for m in sent)


@pytest.mark.parametrize("body", [b"[]", b"NaN", b"1e999", b'"a"', b" null", b"\n[1]"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    server = Server()
    status, said = post(server, body)
    assert (status, server.got) == (400, [])
    assert "must be a JSON object" in json.loads(said)["error"]["message"]


@pytest.mark.parametrize("level", [b"[", b'{"a":'])
def test_a_body_that_is_too_deep_is_refused(level: bytes) -> None:
    end = {b"[": b"]", b'{"a":': b"}"}[level]
    for depth, status in ((DEEPEST - 1, 200), (DEEPEST, 400), (100_000, 400)):
        body = b'{"prompt": ' + level * depth + b"1" + end * depth + b"}"
        assert post(Server(), body)[0] == status


def test_brackets_in_texts_and_side_by_side_are_no_levels() -> None:
    assert problem(json.dumps({"prompt": '[{"' * 5000 + '\\"'}).encode()) is None
    assert problem(json.dumps({"messages": [{"content": [{}]}] * 5000}).encode()) is None


def test_a_body_arrives_whole_and_unchanged_with_what_follows_it() -> None:
    server = Server()
    assert post(server, b'{"prompt": ', b'"a"', b"}") == (200, b'{"prompt": "a"}')
    assert server.got == [b'{"prompt": "a"}']


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{\0}\0", '\ufeff{"a": 1}'.encode()])
def test_what_is_no_json_or_otherwise_encoded_is_left_to_vllm(body: bytes) -> None:
    assert post(Server(), body) == (200, body)


def test_other_kinds_of_bodies_and_methods_pass() -> None:
    form = [(b"content-type", b"multipart/form-data")]
    assert post(Server(), b"[]", headers=form) == (200, b"[]")
    assert post(Server(), b"[]", headers=[]) == (200, b"[]")
    assert post(Server(), b"[]", method="PUT") == (200, b"[]")


def test_a_client_that_leaves_before_the_end_is_forgotten() -> None:
    server = Server()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": JSON}
    asyncio.run(WellFormed(server)(scope, receive, send))
    assert (server.got, sent) == ([], [])


def test_a_value_that_vllm_calls_wrong_is_the_client_s_error() -> None:
    no_object = b"""{"error": {"message": "'int' object has no attribute 'get'", "code": 500}}"""
    assert post(Server(500, no_object), b'{"structured_outputs": 7}') == (400, no_object)
    wrong = (
        b'{"error": {"message": "temperature must be in [0, 2] (parameter=temperature, value=9)"}}'
    )
    assert post(Server(500, wrong), b"{}", path="/v1/messages") == (400, wrong)
    own = b'{"error": {"message": "EngineCore encountered an issue"}}'
    assert post(Server(500, own), b"{}") == (500, own)


class Raises(Server):
    """An app that nobody taught to handle its errors."""

    def __init__(self, error: Exception, begins: bool = False) -> None:
        super().__init__()
        self.error = error
        self.begins = begins

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise self.error


def test_an_error_that_nobody_handles_is_the_client_s_only_if_it_says_so() -> None:
    wrong = AttributeError("'str' object has no attribute 'get'")
    status, said = post(Raises(wrong), b'{"structured_outputs": "a"}')
    assert (status, json.loads(said)["error"]["message"]) == (400, str(wrong))
    with pytest.raises(AttributeError):
        post(Raises(wrong, begins=True), b"{}")
    with pytest.raises(RuntimeError, match="something else"):
        post(Raises(RuntimeError("something else")), b"{}")


@pytest.mark.parametrize("prefix", ["", "/hetctl"])
def test_a_server_of_fixed_ranks_is_not_scaled(prefix: str) -> None:
    server = Server()
    path = f"{prefix}/scale_elastic_ep"
    body = b'{"new_data_parallel_size": 1000000000}'
    status, said = post(server, body, path=path, root_path=prefix)
    assert (status, server.got) == (400, [])
    assert b"cannot be scaled" in said

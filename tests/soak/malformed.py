"""Sends what is no proper request to a server of two CPU ranks, over and over.

    python -m tests.soak.malformed FOLDER --requests 1000

Every answer must be one of the client's errors (4xx) or an honest 200: no 5xx, no silence. In the
end the server must still give the same tokens for a good request, and have the memory it had. The
requests depend on the seed alone. FOLDER needs a short path, such as /tmp/malformed.
"""

import argparse
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.demo import write_demo_model
from tests.e2e.engine import ServeProcess
from tests.soak.trend import trend

OPTIONS = ("--split 2,6 --max-model-len 256 --concurrency 4 --input-len 32 --output-len 32",)
ANSWER_TIMEOUT_S = 60.0
MIB = 1024**2


@dataclass(frozen=True)
class Request:
    """Bytes for a connection, and what is known of them."""

    what: str
    """In words, for who has to look into an answer."""
    sent: bytes
    half: bool = False
    """Whether the request never ends, so that no answer need come."""


@dataclass
class Outcome:
    """What came back."""

    request: Request
    status: int | None
    """None: the connection was closed without an answer."""
    body: str = ""
    seconds: float = 0.0
    early: bool = False
    """Whether the server closed before all was sent: what it said then may be lost."""

    @property
    def clean(self) -> bool:
        if self.status is None:
            return self.request.half or self.early
        return self.status < 500


@dataclass
class Report:
    """All outcomes, and the memory of the server's processes while they came in."""

    outcomes: list[Outcome] = field(default_factory=list)
    rss_bytes: dict[str, list[int]] = field(default_factory=dict)

    def unclean(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.clean]

    def statuses(self) -> dict[str, int]:
        found = Counter(str(outcome.status or "closed") for outcome in self.outcomes)
        return dict(sorted(found.items()))


class Malformed:
    """Requests that are wrong in one way or another, for one model."""

    def __init__(self, model: str, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._model = model
        self._kinds: list[tuple[int, Callable[[], Request]]] = [
            (60, self._wrong_field),
            (8, self._no_json),
            (6, self._deep),
            (4, self._cut),
            (4, self._wrong_type),
            (6, self._wrong_method),
            (4, self._wrong_path),
            (4, self._bad_http),
            (2, self._half),
        ]

    def make(self) -> Request:
        weights = [weight for weight, _ in self._kinds]
        ((_, kind),) = self._random.choices(self._kinds, weights)
        return kind()

    def _wrong_field(self) -> Request:
        path = self._random.choice(list(self._bodies()))
        body = self._bodies()[path]
        wrong = {}
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            name = self._random.choice([*body, *PARAMETERS, *PARAMETERS])
            values = PARAMETERS.get(name, ()) or WRONG
            wrong[name] = self._random.choice([*values, *values, *WRONG])
        if self._random.random() < 0.1:
            body.pop(self._random.choice(list(body)))
        text = json.dumps({**body, **wrong})
        said = json.dumps(wrong)[:300]
        return Request(f"POST {path} {said}", _http("POST", path, text.encode()))

    def _bodies(self) -> dict[str, dict[str, Any]]:
        """A good body for each route that takes one; answers are short."""
        messages = [{"role": "user", "content": "hi"}]
        of_prompt = {"model": self._model, "prompt": [1, 2, 3], "max_tokens": 2}
        of_chat = {"model": self._model, "messages": messages, "max_tokens": 2}
        sampled = {"max_tokens": 2}
        return {
            "/v1/completions": dict(of_prompt),
            "/v1/chat/completions": dict(of_chat),
            "/v1/chat/completions/batch": {**of_chat, "messages": [messages]},
            "/v1/responses": {"model": self._model, "input": "hi", "max_output_tokens": 2},
            "/v1/messages": dict(of_chat),
            "/v1/messages/count_tokens": {"model": self._model, "messages": messages},
            "/tokenize": {"model": self._model, "prompt": "hi"},
            "/detokenize": {"model": self._model, "tokens": [1, 2, 3]},
            "/invocations": dict(of_prompt),
            "/generative_scoring": {"model": self._model, "query": "a", "items": ["b"]},
            "/v1/completions/render": dict(of_prompt),
            "/v1/chat/completions/render": dict(of_chat),
            "/v1/completions/derender": {"model": self._model, "token_ids": [1]},
            "/v1/chat/completions/derender": {"model": self._model, "token_ids": [1]},
            "/inference/v1/generate": {"token_ids": [1, 2, 3], "sampling_params": sampled},
            "/v1/embeddings": {"model": self._model, "input": "hi"},
            "/v1/score": {"model": self._model, "text_1": "a", "text_2": "b"},
            "/scale_elastic_ep": {"new_data_parallel_size": 2},
        }

    def _path(self) -> str:
        return self._random.choice(list(self._bodies()))

    def _no_json(self) -> Request:
        path = self._path()
        texts = (b"", b"{", b"null", b"[]", b'"a"', b"1e999", b"NaN", b"\xff\xfe{}", b"{'a': 1}")
        more = (b'{"model": "\xc3\x28"}', b'{"a":1}{"b":2}', b"\0" * 100, b'{"prompt": "\\ud800"}')
        body = self._random.choice([*texts, *more, self._random.randbytes(200)])
        return Request(f"POST {path} {body!r:.80}", _http("POST", path, body))

    def _deep(self) -> Request:
        path = self._path()
        depth = self._random.choice((50, 1_000, 100_000))
        name = self._random.choice(("prompt", "messages", "response_format", "tools", "metadata"))
        kind = self._random.choice(("[", '{"a":'))
        end = {"[": "]", '{"a":': "}"}[kind]
        body = f'{{"model": {json.dumps(self._model)}, "{name}": {kind * depth}1{end * depth}}}'
        return Request(f"POST {path} {name}: {depth} x {kind}", _http("POST", path, body.encode()))

    def _cut(self) -> Request:
        path = self._path()
        body = json.dumps(self._bodies()[path]).encode()
        whole = _http("POST", path, body)
        return Request(
            f"POST {path} cut", whole[: -self._random.randrange(1, len(body))], half=True
        )

    def _wrong_type(self) -> Request:
        path = self._path()
        kinds = ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded")
        kind = self._random.choice((*kinds, "application/json; charset=utf-16", "", "\u00ff/*"))
        body = json.dumps(self._bodies()[path]).encode()
        return Request(f"POST {path} as {kind!r}", _http("POST", path, body, kind))

    def _wrong_method(self) -> Request:
        path = self._random.choice([*self._bodies(), *READ, "/"])
        method = self._random.choice(
            ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW")
        )
        return Request(f"{method} {path}", _http(method, path, b""))

    def _wrong_path(self) -> Request:
        paths = ("/../../etc/passwd", "/v1/%2e%2e/%00", "//", "/v1/models/" + "a" * 5000)
        more = ("/v1/responses/resp_nobody", "/v1/responses/%ff/cancel", "/docs/%0d%0aX: y", "/%")
        path = self._random.choice((*paths, *more, "/v1/completions?" + "x=1&" * 2000))
        method = self._random.choice(("GET", "POST"))
        return Request(f"{method} {path:.60}", _http(method, path, b"{}"))

    def _bad_http(self) -> Request:
        path = self._path()
        start = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        chunked = start + b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
        requests = {
            "chunk of no length": chunked + b"zz\r\n{}\r\n0\r\n\r\n",
            "negative length": start + b"Content-Length: -5\r\n\r\n{}",
            "two lengths": start + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
            "long header": start + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
            "many headers": start + b"".join(b"X%d: 1\r\n" % i for i in range(3000)) + b"\r\n",
            "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
            "HTTP/9": f"POST {path} HTTP/9.9\r\n\r\n".encode(),
            "bare line": b"\r\n\r\n\r\n",
            "NUL in a header": start + b"X: \0\r\n\r\n",
        }
        what = self._random.choice(list(requests))
        # How much of it is answered is up to the HTTP server; it must not suffer.
        return Request(f"HTTP: {what}", requests[what], half=True)

    def _half(self) -> Request:
        path = self._path()
        start = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        return Request(f"POST {path} half", start.encode(), half=True)


READ = ("/openapi.json", "/load", "/version", "/health", "/metrics", "/v1/models", "/ping")
_TREE = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
_CHAT = "/v1/chat"
WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, 1e308, -1e308),
    *(float("nan"), float("inf"), -float("inf"), "", "a", "\0", "\ud800", "\U0001f600" * 50),
    *([], [[]], [None], {}, {"": None}, {"a": {"a": {"a": {}}}}, [1, "a", None], "a" * 20_000),
)
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
_AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
_NO_HOST = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "nonsense"}}}
PARAMETERS: dict[str, tuple[Any, ...]] = {
    "model": ("nobody", "../../etc", 7),
    "prompt": ([10**6], [-1], [[1, 2], ["a"]], [[]], "a" * 100_000, [1] * 5000, {"a": 1}, [2**40]),
    "messages": (
        *([], [{}], [{"role": "nobody", "content": "hi"}], [{"role": "user", "content": None}]),
        *([{"role": "user", "content": [part]}] for part in (_IMAGE, _AUDIO, _NO_HOST, {}, 1)),
        *([{"role": "tool", "tool_call_id": 7}], [{"role": "user"}] * 300, "hi"),
    ),
    "input": ([], [{"type": "nonsense"}], [{"role": "user", "content": [_IMAGE]}], 7),
    "tokens": ([10**9], [-5], ["a"], [1.5], [2**70]),
    "token_ids": ([10**9], [-5], ["a"], [], [2**70], [1] * 5000),
    "sampling_params": ({"n": 10**9}, {"temperature": -5}, {"stop_token_ids": ["a"]}, [], 7),
    "max_tokens": (-1, 0, 10**9, 2**63, 1.5, "many"),
    "max_completion_tokens": (-1, 0, 10**9, 2**63),
    "max_output_tokens": (-1, 0, 10**9),
    "min_tokens": (-1, 10**9, 300),
    "n": (0, -1, 10**9, 17_000, 1.5),
    "best_of": (0, -1, 10**9),
    "temperature": (-1, 1e30, float("nan"), float("inf")),
    "top_p": (0, -1, 2, float("nan")),
    "top_k": (-2, 10**12, 0.5),
    "min_p": (-1, 2, float("nan")),
    "repetition_penalty": (0, -1, 1e30, float("nan")),
    "presence_penalty": (-9, 9, float("nan")),
    "frequency_penalty": (-9, 9, float("nan")),
    "seed": (-1, 2**63, 2**64, -(2**63), 1.5),
    "logprobs": (-1, 10**9, 100_000, True),
    "top_logprobs": (-1, 10**9, 21),
    "prompt_logprobs": (-1, -2, 10**9, 100_000),
    "logit_bias": (
        {"a": 1},
        {"-1": 1},
        {"99999999": 5},
        {"1": 1e308},
        {"1": "x"},
        [1],
        {"1": None},
    ),
    "stop": ([""], ["a"] * 1000, [None], 7, [["a"]], "\0"),
    "stop_token_ids": ([-1], [10**9], ["a"], [2**70]),
    "bad_words": ([""], [7], ["a" * 5000]),
    "allowed_token_ids": ([], [-1], [10**9], ["a"]),
    "truncate_prompt_tokens": (-5, 0, 10**9),
    "echo": (True, "yes"),
    "suffix": ("a", 7),
    "stream": (True, "maybe"),
    "stream_options": ({"include_usage": True}, 7, {"nonsense": 1}),
    "response_format": (
        *({"type": "nonsense"}, {"type": "json_schema"}, {"type": "json_object"}, 7),
        *(
            {"type": "json_schema", "json_schema": {"name": "a", "schema": s}}
            for s in (7, {"type": 7})
        ),
        {"type": "json_schema", "json_schema": {"name": "a", "schema": _TREE}},
    ),
    "structured_outputs": (
        *(
            {"grammar": "root ::= ("},
            {"regex": "(("},
            {"regex": "(a{1,9999}){1,9999}"},
            {"json": 7},
        ),
        *({"choice": []}, {"json": {"$ref": "#/nowhere"}}, {"grammar": "root ::= root"}, {}),
        *({"json": {"type": "string", "pattern": "(("}}, {"structural_tag": "{"}, {"regex": ""}),
    ),
    "guided_json": ("{", {"type": 7}),
    "tools": ([_TOOL], [{}], 7, [{"type": "function", "function": {"name": ""}}]),
    "tool_choice": ("required", "nobody", {"type": "function", "function": {"name": "nobody"}}),
    "chat_template": (
        "{{ 1/0 }}",
        "{% for",
        "{{ ''.__class__.__mro__ }}",
        "{% for i in range(9) %}",
    ),
    "chat_template_kwargs": ({"messages": 7}, {"self": 1}, 7),
    "add_generation_prompt": ("maybe",),
    "continue_final_message": (True,),
    "documents": ([{"a": 1}], 7),
    "mm_processor_kwargs": ({"a": 1}, 7),
    "lora_request": ({"lora_name": "a"}, 7),
    "prompt_embeds": ("AAAA", "not base64!", ["AAAA"]),
    "priority": (-1, 2**70, 5),
    "cache_salt": ("", 7),
    "kv_transfer_params": ({"do_remote_decode": True}, 7),
    "vllm_xargs": ({"a": [1]}, 7),
    "request_id": ("a" * 10_000, "", "\0"),
    "previous_response_id": ("resp_nobody", "nonsense"),
    "background": (True,),
    "store": (True, "x"),
    "reasoning": ({"effort": "nonsense"},),
    "reasoning_effort": ("nonsense",),
    "use_beam_search": (True,),
    "thinking": ({"type": "enabled", "budget_tokens": -1},),
    "system": (7, [{"type": "text"}]),
    "items": ([], [7], ["a"] * 300),
    "query": (7, [], "a" * 20_000),
    "label_token_ids": ([], [-1], [10**9]),
    # Not 10**9: vLLM alone would take all memory of the machine for it, and not only its own.
    "new_data_parallel_size": (0, -1, 1000, "a", 2),
}
"""Absurd values of what requests may name."""


def _http(method: str, path: str, body: bytes, kind: str = "application/json") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1", "replace") + body


def send(port: int, request: Request) -> Outcome:
    """One request over a connection of its own, to this machine."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S) as connection:
        early = not _sent(connection, request)
        try:
            if request.half:
                connection.settimeout(0.2)
            status, body = _answer(connection)
        except OSError as error:
            status, body = None, str(error)
    return Outcome(request, status, body, time.monotonic() - began, early)


def _sent(connection: socket.socket, request: Request) -> bool:
    try:
        connection.sendall(request.sent)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _answer(connection: socket.socket) -> tuple[int | None, str]:
    found = b""
    while part := connection.recv(65536):
        found = (found + part)[:100_000]
    head, _, body = found.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    return status, body.decode("utf-8", "replace")


def bombard(server: ServeProcess, requests: int, seed: int = 0, looks: int = 10) -> Report:
    """Send ``requests`` of them, one after the other; some connections stay half open meanwhile.

    Args:
        looks: How often the memory of the server's processes is noted.
    """
    report = Report()
    malformed = Malformed(str(server.model), seed)
    slow = [_slow(server.port) for _ in range(10)]
    for number in range(requests):
        report.outcomes.append(send(server.port, malformed.make()))
        if number % max(1, requests // looks) == 0:
            _note_memory(server, report)
            # A byte more of requests that never end.
            for connection in slow:
                with_more(connection)
    _note_memory(server, report)
    for connection in slow:
        connection.close()
    return report


def _slow(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX: ")
    return connection


def with_more(connection: socket.socket) -> None:
    try:
        connection.sendall(b"a")
    except OSError:
        return


def _note_memory(server: ServeProcess, report: Report) -> None:
    processes = {f"rank {rank}": process for rank, process in server.ranks().items()}
    for process in psutil.Process(server.process.pid).children(recursive=True):
        title = " ".join(process.cmdline())
        if "EngineCore" in title:
            processes["engine"] = process
        elif "vllm.entrypoints" in title:
            processes["API server"] = process
    for name, process in processes.items():
        report.rss_bytes.setdefault(name, []).append(process.memory_info().rss)


def said(report: Report) -> str:
    """The report in words."""
    lines = [f"{len(report.outcomes)} requests: {report.statuses()}"]
    slowest = max(report.outcomes, key=lambda outcome: outcome.seconds)
    lines.append(f"slowest: {slowest.seconds:.1f} s, {slowest.request.what:.200}")
    for name, rss in report.rss_bytes.items():
        half = len(rss) // 2
        late = trend([float(at) for at in range(half, len(rss))], [r / MIB for r in rss[half:]])
        begin, end = rss[0] / MIB, rss[-1] / MIB
        lines.append(f"{name}: {begin:.0f} -> {end:.0f} MiB; second half, MiB per look: {late}")
    for outcome in report.unclean():
        lines.append(f"{outcome.status}: {outcome.request.what:.400}\n    {outcome.body:.300}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model = arguments.folder / "tiny"
    if not model.is_dir():
        write_demo_model(model)
    with ServeProcess(model, OPTIONS, arguments.folder / "log") as server:
        before = server.complete([1, 2, 3], 16)
        report = bombard(server, arguments.requests, arguments.seed)
        print(said(report), flush=True)
        after = server.complete([1, 2, 3], 16)
        print(f"the same tokens afterwards: {after == before}")


if __name__ == "__main__":
    main()

"""ASGI middleware that answers with the client's error where vLLM answers with its own.

vLLM 0.26 takes some of what no client should send for an error of the server: a body that is JSON
and no object, one that is nested deeper than Python's parser goes, a number where an object
belongs, whatever is wrong with a request to ``/v1/messages``, and ``/scale_elastic_ep`` for an
engine that cannot be scaled. Monitoring counts them, and load balancers take the server out. The
last one does worse: with a large number, vLLM's API server takes all memory of the machine, for
whoever asks, as vLLM wants no key there.
``--middleware vllm_hetero.http.well_formed.WellFormed`` puts this in front.
"""

import re
import sys

from vllm_hetero.http.asgi import App, Message, Receive, Scope, Send, path_of, refuse

DEEPEST = 100
"""Levels of a body; schemas and tools that people write have a tenth of them."""
_NOT_HERE = {
    "/scale_elastic_ep": "Ranks are fixed by the plan; this server cannot be scaled while it runs."
}
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")
# As vLLM ends the message of what it calls a wrong value, and as Python says that a check took a
# number, a text or a list for the object that should be there.
_WRONG_VALUE = re.compile(
    rb"\(parameter=[^\s,)]+[,)]|'(?:bool|float|int|list|str)' object has no attribute 'get'"
)


class WellFormed:
    """Refuses bodies that are no JSON objects, or too deep, and corrects the status of others."""

    def __init__(self, app: App) -> None:
        self._app = app
        # Its routes are there by now, in vLLM's API server.
        if "vllm.entrypoints.anthropic.serving" in sys.modules:
            from vllm_hetero.patches import messages_errors

            messages_errors.apply()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        reason = _NOT_HERE.get(path_of(scope))
        if reason is None and not _is_json(scope):
            await self._app(scope, receive, send)
            return
        # Whole, also if it is refused: a client that still sends does not hear an answer.
        body = await _whole(receive)
        if body is None:
            return
        if (reason := reason or problem(body)) is not None:
            await _refuse(send, reason)
            return
        answer = _Corrected(send)
        try:
            await self._app(scope, _again(body, receive), answer)
        except Exception as error:
            # What nobody handles is on its way to the HTTP server, which would answer 500.
            if answer.begun or not _WRONG_VALUE.search(str(error).encode()):
                raise
            await _refuse(send, str(error))


def problem(body: bytes) -> str | None:
    """Why a JSON body is not passed on, or None. What is no JSON at all, vLLM refuses itself."""
    start = body[:64].lstrip(b" \t\r\n")
    # Empty, or in another encoding, which Python's parser understands as well.
    if not start or start[:1] in b"\xef\xff\xfe\0" or b"\0" in start[:4]:
        return None
    if start[:1] != b"{":
        return "The body must be a JSON object: {...}."
    # Brackets are few where a body is long: in prompts of token ids, one for each prompt.
    if body.count(b"[") + body.count(b"{") > DEEPEST and _depth(body) > DEEPEST:
        return f"The body is nested deeper than {DEEPEST} levels."
    return None


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket.group() in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _is_json(scope: Scope) -> bool:
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return bool(kinds) and b"json" in kinds[0].lower()


async def _whole(receive: Receive) -> bytes | None:
    """The body; None if the client left before its end."""
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was received, and then what comes after it."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return first.pop() if first else await receive()

    return next_message


async def _refuse(send: Send, reason: str) -> None:
    await refuse(send, 400, "BadRequestError", reason)


class _Corrected:
    """Passes an answer on; an error of the server waits until its body says whose error it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: Message | None = None
        self.begun = False
        """Whether anything of the answer is with the client."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 500:
            self._held = message
            return
        if self._held is not None:
            if _WRONG_VALUE.search(message.get("body", b"")):
                self._held["status"] = 400
            start, self._held = self._held, None
            await self._send(start)
        self.begun = True
        await self._send(message)

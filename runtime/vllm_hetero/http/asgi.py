"""What every middleware of this package needs of ASGI: its types, the path, a refusal."""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]


def path_of(scope: Scope) -> str:
    """The path of a request as the app knows it, without a slash at its end."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).rstrip("/")


async def refuse(
    send: Send, status: int, kind: str, reason: str, headers: Iterable[Header] = ()
) -> None:
    """Answer with an error as vLLM writes its own."""
    error = {"message": reason, "type": kind, "param": None, "code": status}
    body = json.dumps({"error": error}).encode()
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})

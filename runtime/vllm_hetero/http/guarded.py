"""ASGI middleware that wants the API key for whatever does something.

vLLM 0.26 asks for its key (``VLLM_API_KEY``) below ``/v1``, ``/v2`` and ``/inference`` alone.
``/tokenize``, ``/classify``, ``/pooling``, ``/score``, ``/rerank``, ``/pause``, ``/invocations``
and others answer anybody. ``--middleware vllm_hetero.http.guarded.Guarded`` asks everywhere but at
what load balancers and monitoring read. Without a key it asks nowhere, as vLLM.
"""

import hashlib
import hmac

from vllm_hetero.http.asgi import App, Receive, Scope, Send, path_of, refuse

OPEN = ("/health", "/ping", "/metrics", "/version")
"""What tells of the server, and neither of its requests nor of its model."""


class Guarded:
    """Answers 401 where the bearer token is not the key."""

    def __init__(self, app: App) -> None:
        from vllm import envs

        self._app = app
        self._key = _digest(envs.VLLM_API_KEY.encode()) if envs.VLLM_API_KEY else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A browser's question whether it may ask (OPTIONS) never carries a key. Websockets are
        # below /v1, where vLLM asks itself.
        if (
            self._key is None
            or scope["type"] != "http"
            or scope["method"] == "OPTIONS"
            or path_of(scope) in OPEN
            or hmac.compare_digest(_digest(_bearer(scope)), self._key)
        ):
            await self._app(scope, receive, send)
            return
        await refuse(
            send,
            401,
            "AuthenticationError",
            "This server wants its API key: Authorization: Bearer KEY.",
            headers=[(b"www-authenticate", b"Bearer")],
        )


def _bearer(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = bytes(value).partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else b""
    return b""


def _digest(key: bytes) -> bytes:
    """Compared instead of the key, whose length would show in the time that it takes."""
    return hashlib.sha256(key).digest()

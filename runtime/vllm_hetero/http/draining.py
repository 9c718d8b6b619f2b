"""ASGI middleware that refuses new requests once the server is about to end.

When vLLM's API server is told to end, it stops to listen a moment later, and its engine drains
(``--shutdown-timeout``). What comes in that moment is accepted, aborted, and answered with status
200 and no text, and ``/health`` says 200. With ``--middleware vllm_hetero.http.draining.Draining``
both are answered with 503, from the moment on that the file :data:`MARK` is in the folder for the
server's sockets (``VLLM_RPC_BASE_PATH``).
"""

from pathlib import Path

from vllm_hetero.http.asgi import App, Receive, Scope, Send, path_of, refuse

MARK = "draining"
"""Name of the file; whoever is about to send SIGTERM makes it."""
_ANSWERED = ("/metrics", "/version")
"""What is asked to the end: by monitoring, which would take silence for a failure."""


class Draining:
    """Refuses what comes too late; a client is told to try again soon, elsewhere or here."""

    def __init__(self, app: App) -> None:
        from vllm import envs

        self._app = app
        self._mark = Path(envs.VLLM_RPC_BASE_PATH) / MARK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and path_of(scope) not in _ANSWERED and self._mark.exists():
            await refuse(
                send,
                503,
                "ServiceUnavailableError",
                "The server is shutting down and takes no new requests.",
                headers=[(b"retry-after", b"10"), (b"connection", b"close")],
            )
            return
        await self._app(scope, receive, send)

"""The page of metrics that a server shows, and where it is."""

import http.client
import urllib.error
import urllib.parse
import urllib.request

from hetctl.errors import HetctlError, UsageError

TIMEOUT_S = 2.0
_MAX_BYTES = 32 << 20
# A proxy that the environment names is not for this machine's own addresses.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NoAnswerError(HetctlError):
    """Nobody answers at the server's address, which may pass."""


def base_url_of(given: str) -> str:
    """``http://HOST:PORT`` of a server, however its address was written.

    Raises:
        UsageError: it is no address.
    """
    text = given if "://" in given else f"http://{given}"
    try:
        parts = urllib.parse.urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = None
    if not known or any(not c.isprintable() or c.isspace() for c in given):
        raise UsageError(
            f"{given!r} is not the address of a server; write it like http://127.0.0.1:8000."
        )
    path = parts.path.rstrip("/").removesuffix("/metrics").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def metrics_page(base_url: str, timeout_s: float = TIMEOUT_S) -> str:
    """What the server shows now.

    Raises:
        NoAnswerError: it does not answer, or answers with an error of its own.
        HetctlError: who answers has no such page.
    """
    host = urllib.parse.urlsplit(base_url).hostname
    opener = _DIRECT if host in _LOOPBACK else urllib.request.build_opener()
    try:
        with opener.open(f"{base_url}/metrics", timeout=timeout_s) as answer:
            return str(answer.read(_MAX_BYTES).decode("utf-8", errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= 500:
                raise NoAnswerError(
                    f"The server at {base_url} answers with HTTP {error.code}."
                ) from error
            raise HetctlError(
                f"What answers at {base_url} shows no metrics (HTTP {error.code} for /metrics); "
                "is it a vLLM server?"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise NoAnswerError(
            f"No server answers at {base_url} ({why}); start one with hetctl serve, or name "
            "another address."
        ) from error

"""An engine that somebody else started: an OpenAI-compatible server at a URL."""

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urldefrag, urlsplit

from hetctl.bench.results import Configuration, Outside
from hetctl.errors import LaunchError, UsageError

ANSWER_S = 10.0
"""How long a server may take to say what it serves."""
FIRST_TOKEN_S = 300.0
"""How long it may take for one token: some load the model when they are first asked."""

_ENGINES = {"llamacpp": "llama.cpp"}
"""What servers call themselves (``owned_by``), where their users call them otherwise."""


@dataclass(frozen=True)
class Found:
    """What a server says of the model that it offers."""

    engine: str
    model_name: str
    max_model_len: int | None = None
    """Tokens, where the server tells."""


def parse_against(text: str) -> tuple[str | None, str, str | None]:
    """Name, base URL and model in ``[NAME=]URL[#MODEL]``; a final ``/v1`` is not part of it.

    Raises:
        UsageError: it is not a URL.
    """
    name, separator, rest = text.partition("=")
    if not separator or "://" in name:
        name, rest = "", text
    url, model = urldefrag(rest)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--against {text!r} is not a URL; write it like http://127.0.0.1:8080 or "
            "llama.cpp=http://127.0.0.1:8080."
        )
    if name:
        check_name("--against", text, name)
    return name or None, url.rstrip("/").removesuffix("/v1"), model or None


def check_name(option: str, text: str, name: str) -> None:
    """Raise UsageError unless a configuration can be called so."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9+._-]*", name):
        raise UsageError(
            f"{option} {text!r}: the name {name!r} may have small letters, digits and +._- only."
        )


def ask(url: str, model: str | None = None) -> Found:
    """What the server at ``url`` offers, from ``/v1/models``.

    Args:
        model: which of several models is meant.

    Raises:
        LaunchError: it does not answer, or not as an OpenAI-compatible server does.
        UsageError: it does not offer the model, or several with none chosen.
    """
    answer = _request(f"{url}/v1/models", None, ANSWER_S)
    try:
        offered = {str(entry["id"]): entry for entry in answer["data"]}
    except (KeyError, TypeError) as error:
        raise LaunchError(
            f"{url}/v1/models does not list models as an OpenAI-compatible server does; is this "
            "the right address?"
        ) from error
    if not offered:
        raise LaunchError(f"{url} offers no model; load one there first.")
    if model is None and len(offered) > 1:
        raise UsageError(f"{url} offers {_listed(offered)}; choose one with --against {url}#MODEL.")
    name = model or next(iter(offered))
    if name not in offered:
        raise UsageError(f"{url} does not offer {name}; it has {_listed(offered)}.")
    entry = offered[name]
    owner = str(entry.get("owned_by") or "outside")
    length = entry.get("max_model_len")
    return Found(
        engine=_ENGINES.get(owner, owner),
        model_name=name,
        max_model_len=length if isinstance(length, int) else None,
    )


def outside_configuration(text: str, needed_tokens: int) -> Configuration:
    """The baseline that ``--against TEXT`` asks for.

    Args:
        needed_tokens: of the longest request.

    Raises:
        LaunchError: the server does not answer.
        UsageError: the text is no URL, or the server cannot hold the requests.
    """
    name, url, model = parse_against(text)
    found = ask(url, model)
    if found.max_model_len is not None and found.max_model_len < needed_tokens:
        raise UsageError(
            f"{url} holds {found.max_model_len:,} tokens, and the workload has requests of "
            f"{needed_tokens:,}; start it with a longer context, or send shorter requests."
        )
    own = re.sub(r"[^a-z0-9+._-]+", "-", found.engine.lower()).strip("-+._") or "outside"
    return Configuration(
        name=name or own,
        title=f"{found.engine} at {url}",
        role="baseline",
        why="Started by somebody else, with weights, settings and memory of its own; not "
        "restarted between repeats.",
        outside=Outside(engine=found.engine, model_name=found.model_name, url=url),
    )


def with_unique_names(configurations: Iterable[Configuration]) -> tuple[Configuration, ...]:
    """The same, the second of a name called ``name-2`` and so on."""
    found: dict[str, Configuration] = {}
    for one in configurations:
        names = (one.name if at == 1 else f"{one.name}-{at}" for at in count(1))
        name = next(name for name in names if name not in found)
        found[name] = one if name == one.name else one.model_copy(update={"name": name})
    return tuple(found.values())


class OutsideServer:
    """The :class:`~hetctl.bench.server.Server` at a URL, which is neither started nor stopped."""

    def __init__(self, outside: Outside) -> None:
        assert outside.url is not None
        self._url = outside.url
        self._model = outside.model_name

    @property
    def base_url(self) -> str:
        return self._url

    @property
    def pid(self) -> int | None:
        """None: its processes are not known here."""
        return None

    def start(self) -> None:
        """Somebody else did."""

    def wait_ready(self, timeout_s: float, on_progress: Callable[[str], None]) -> None:
        """Have it generate one token.

        Raises:
            LaunchError: it does not within ``timeout_s`` or :data:`FIRST_TOKEN_S`.
        """
        on_progress("asking for a token")
        body = {"model": self._model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
        answer = _request(f"{self._url}/v1/completions", body, min(timeout_s, FIRST_TOKEN_S))
        if not isinstance(answer, Mapping) or not answer.get("choices"):
            raise LaunchError(f"{self._url}/v1/completions gave no text: {answer!s:.200}")

    def require_alive(self) -> None:
        """Raise LaunchError if it does not answer any more."""
        ask(self._url, self._model)

    def stop(self) -> None:
        """Somebody else will."""


def _request(url: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
    """The JSON that a GET, or with a body a POST, is answered with."""
    headers = {"Content-Type": "application/json"}
    # The same variable as the load generator's.
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, headers)
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        hint = "; set OPENAI_API_KEY" if error.code in (401, 403) else ""
        raise LaunchError(f"{url} answered with {error.code} {error.reason}{hint}.") from error
    except TimeoutError as error:
        raise LaunchError(f"{url} did not answer within {timeout_s:.0f} s.") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise LaunchError(f"{url} did not answer within {timeout_s:.0f} s.") from error
        raise LaunchError(f"{url} cannot be reached: {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise LaunchError(f"{url} broke off its answer: {error!r}.") from error
    except ValueError as error:
        raise LaunchError(f"{url} did not answer with JSON; is this the right address?") from error


def _listed(offered: Mapping[str, object]) -> str:
    return ", ".join(list(offered)[:10]) + (", ..." if len(offered) > 10 else "")

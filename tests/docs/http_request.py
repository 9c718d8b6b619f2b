"""The requests that the documentation sends with curl."""

import argparse
import json
import shlex
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.docs.blocks import blocks, pages

PORT = 8000
"""The port that hetctl listens on unless told otherwise."""


@dataclass(frozen=True)
class HttpRequest:
    """One call of the server's API."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None

    def send(self, port: int, model: str | None = None) -> str:
        """The answer's text.

        Args:
            port: Where the server listens.
            model: What the model is called there, instead of the name in the page.

        Raises:
            urllib.error.HTTPError: the server refused it.
        """
        body = self.body and {**self.body, **({"model": model} if model else {})}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{self.path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=self.headers,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text: str = answer.read().decode()
            return text


def parse_curl(arguments: list[str]) -> HttpRequest:
    """Read curl's command line, as far as the documentation uses it."""
    parser = argparse.ArgumentParser("curl", allow_abbrev=False)
    parser.add_argument("--header", "-H", action="append", default=[])
    parser.add_argument("--data", "-d", type=json.loads)
    parser.add_argument("--fail", "-f", action="store_true")
    parser.add_argument("--silent", "-s", action="store_true")
    parser.add_argument("url", type=urlsplit)
    asked = parser.parse_args(arguments)
    if asked.url.netloc != f"127.0.0.1:{PORT}":
        parser.error(f"{asked.url.netloc} is not where a server of the pages listens")
    headers = dict(header.split(": ", 1) for header in asked.header)
    return HttpRequest(asked.url.path, headers, asked.data)


def documented_requests() -> list[HttpRequest]:
    """All requests of all pages, each once."""
    found = []
    for page in pages():
        for block in blocks(page):
            for script, _ in block.commands() if block.language in ("bash", "console") else ():
                words = shlex.split(script.replace("\\\n", " "), comments=True)
                if words and words[0] == "curl":
                    found.append(parse_curl(words[1:]))
    return [one for i, one in enumerate(found) if one not in found[:i]]

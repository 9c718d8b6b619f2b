"""Leaves secrets out of what is shown or sent to others."""

import re
from collections.abc import Iterable, Mapping

MASK = "********"

_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|credential|private|cookie|signature"
    r"|(?:^|[_\-.])(?:api[_\-.]?|access[_\-.]?|ssh[_\-.]?)?key(?:$|[_\-.])|apikey|(?:^|_)auth(?:$|_)",
    re.IGNORECASE,
)
# Names that hold a word of the above and no secret: what a model reads and writes, above all.
_NO_SECRET = re.compile(
    r"tokens|token_?ids?|tokeni[sz]e\w*"
    r"|(?:bos|eos|pad|unk|sep|cls|mask|image|video|audio|special|stop|first|next|per|num)[_\-]token",
    re.IGNORECASE,
)

# Also with one slash, as a path makes of it.
_URL_PASSWORD = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.\-]*+:/{1,2})[^/\s@'\"]+@", re.IGNORECASE)
_WORD = r"token|secret|passw(?:or)?d|credential|(?:api|access)[_\-]?key"
_SECRET_WORD = re.compile(_WORD, re.IGNORECASE)
# A whole word that holds one of them. Possessive (++) and from the word's beginning, since a log
# may hold words of 100,000 letters.
_NAME = rf"(?<![\w.\-])(?=[\w.\-]*?(?:{_WORD}))"
_REST = r"(?P<{}>[^\s\"'&,;)\]}}]+)"
_NAMED = re.compile(
    # NAME=value and "name": "value"
    rf"{_NAME}(?P<name>[\w.\-]++)(?P<between>[\"']?\s*[:=]\s*[\[(]*[\"']?){_REST.format('value')}"
    # --name value
    rf"|{_NAME}(?P<option>--[\w.\-]++)(?P<gap>[\"',\s]+){_REST.format('given')}",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b(?P<kind>bearer|basic)\s+[\w.~+/=\-]{6,}", re.IGNORECASE)
# As services write them: Hugging Face, OpenAI and those like it, GitHub, AWS, Slack, JWT.
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_\-]{10,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|AKIA[0-9A-Z]{16}|xox[baprs]-[\w\-]{10,}"
    r"|eyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]{4,})"
)
_MIN_SECRET = 4
"""A shorter value of a secret variable, ``1`` or ``on``, would mask half of a log."""


def is_secret_name(name: str) -> bool:
    """Whether a variable, option or key of this name holds a secret."""
    return _SECRET_NAME.search(_NO_SECRET.sub("", name)) is not None


def masked(value: str) -> str:
    """What stands for a secret; an empty one is shown as it is."""
    return MASK if value else value


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets that an environment holds, the longest first."""
    values = {value for name, value in environment.items() if is_secret_name(name)}
    for value in environment.values():
        values.update(match.group(0) for match in _SHAPES.finditer(value))
        values.update(re.findall(r"://[^/\s@:]*:([^/\s@]+)@", value))
    return tuple(sorted((v for v in values if len(v) >= _MIN_SECRET), key=len, reverse=True))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without ``secrets``, passwords in URLs, keys given by name, and their shapes."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _URL_PASSWORD.sub(rf"\g<scheme>{MASK}@", text)
    text = _HEADER.sub(rf"\g<kind> {MASK}", text)
    text = _SHAPES.sub(MASK, text)
    return _NAMED.sub(_mask_named, text)


def _mask_named(match: re.Match[str]) -> str:
    name = match["name"] or match["option"]
    if not _SECRET_WORD.search(_NO_SECRET.sub("", name)):
        return match[0]
    return f"{name}{match['between'] or match['gap']}{MASK}"

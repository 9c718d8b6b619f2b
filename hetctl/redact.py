"""Leaves secrets out of what is shown or sent to others."""

import re
from collections.abc import Iterable, Mapping, Sequence

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

# Also with one slash, as a path makes of it. Of the scheme only the end: a search for its colon
# from each letter of "a.a.a.a" takes the square of a line's length.
_URL_PASSWORD = re.compile(r"(?<=[a-z0-9+.\-])(?P<slashes>:/{1,2})[^/\s@'\"]+@", re.IGNORECASE)
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
# As services write them: Hugging Face, OpenAI and those like it, GitHub, AWS, Slack, JWT. The last
# from where a word begins to its first "eyJ", once more for the sake of long lines.
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_\-]{10,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|AKIA[0-9A-Z]{16}|xox[baprs]-[\w\-]{10,})"
    r"|(?<![\w\-])(?>[\w\-]*?\beyJ)[\w\-]{8,}+\.[\w\-]{8,}+\.[\w\-]{4,}"
)
# Without these an expression finds nothing. Most lines of a log have none, and are told from the
# others in a tenth of the time that the expressions take.
_SHAPES_BEGIN = (
    *("hf_", "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    *("AKIA", "xox", "eyJ"),
)
_MAY_BE_NAME = re.compile(rf"(?:{_WORD})[\w.\-]*+[\"']?\s*[:=]")
_MAY_BE_OPTION = re.compile(_WORD)
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
    return _longest_first(values)


def secrets_of_arguments(argv: Sequence[str]) -> tuple[str, ...]:
    """The secrets that a command's arguments give: every value of ``--api-key A B``, say."""
    values: set[str] = set()
    secret = False
    for word in argv:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            secret = is_secret_name(name)
        else:
            value = word
        if secret:
            values.add(value)
    return _longest_first(values)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without ``secrets``, passwords in URLs, keys given by name, and their shapes.

    Takes a few microseconds for a line that holds nothing of the kind, and time in proportion to
    the length of any.
    """
    for secret in secrets:
        text = text.replace(secret, MASK)
    folded = text.casefold()
    if ":/" in folded and "@" in folded:
        text = _URL_PASSWORD.sub(rf"\g<slashes>{MASK}@", text)
    if "bearer" in folded or "basic" in folded:
        text = _HEADER.sub(rf"\g<kind> {MASK}", text)
    if any(map(text.__contains__, _SHAPES_BEGIN)):
        text = _SHAPES.sub(MASK, text)
    if _MAY_BE_NAME.search(folded) or ("--" in folded and _MAY_BE_OPTION.search(folded)):
        text = _NAMED.sub(_mask_named, text)
    return text


def _longest_first(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted((v for v in values if len(v) >= _MIN_SECRET), key=len, reverse=True))


def _mask_named(match: re.Match[str]) -> str:
    name = match["name"] or match["option"]
    if not _SECRET_WORD.search(_NO_SECRET.sub("", name)):
        return match[0]
    return f"{name}{match['between'] or match['gap']}{MASK}"

"""One thing that was said, as data: by a process of the server, or by hetctl about it."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args

from hetctl.launch.output.origin import Origin
from hetctl.redact import redact

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

HETCTL = "hetctl"
"""The process of hetctl's own records."""

_LEVEL = "|".join(get_args(Level))
# vLLM's; VLLM_LOGGING_PREFIX may stand before it.
_VLLM = re.compile(
    rf"(?<!\w)(?P<level>{_LEVEL}) \d\d-\d\d \d\d:\d\d:\d\d \[(?P<source>[^\]\s]+:\d+)\] ?", re.ASCII
)
_VLLM_WITHIN = 512
"""Characters of a line in which it is looked for: further on, a line quotes another."""
# uvicorn's "INFO:     Started", and "WARNING:root:" as logging writes it by itself.
_UVICORN = re.compile(rf"(?P<level>{_LEVEL}):(?:[ \t]+|(?=[\w.]+:))", re.ASCII)
# torch's and glog's, of C++: "[W1130 18:00:00.123456 ProcessGroupNCCL.cpp:12] ".
_GLOG = re.compile(
    r"\[?(?P<letter>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +(?:\d+ )?(?P<source>[^\]\s]+:\d+)\] ?",
    re.ASCII,
)
_OF_LETTER: dict[str, Level] = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "CRITICAL"}
_TORCH_RANK = re.compile(r"\[rank\d+\]: ?")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Record:
    """A line of a server's output, or an event of hetctl.

    Attributes:
        time: When it was read; aware. The server's own clock time stands in the log.
        level: As the line says it. None where it says none: vLLM repeats it on each line of a
            message, so such a line is no continuation but from C++, ``print`` or a traceback.
        process: ``APIServer``, ``EngineCore``, ``Worker_PP0``, ...; ``hetctl``; or None.
        rank: The rank of the plan, or None.
        source: ``file.py:12``, or None.
        message: What is left of the line, without colours and secrets.
        event: hetctl's events have a name; None for lines.
        fields: What an event tells besides; each becomes a key of the JSON.
    """

    time: datetime
    message: str
    level: Level | None = None
    process: str | None = None
    pid: int | None = None
    rank: int | None = None
    source: str | None = None
    event: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if taken := _KEYS & self.fields.keys():
            raise ValueError(f"a record's own keys are no fields of an event: {sorted(taken)}")

    @classmethod
    def of_line(cls, text: str, time: datetime, origin: Origin) -> "Record":
        """Of a line of the server without its prefix and secrets."""
        level, source, text = _head(without_escapes(text))
        return cls(time, text, level, *origin, source)

    @classmethod
    def of_event(
        cls, event: str, message: str, *, level: Level = "INFO", **fields: object
    ) -> "Record":
        """Something that hetctl did or saw.

        Args:
            event: Its name, for programs: ``ready``, ``restart``.
            message: A sentence, for people.
            fields: More about it, under names that no record has: ``exit_code=1``. Numbers,
                texts, booleans and None stay what they are; anything else becomes text.
        """
        return cls(
            time=datetime.now(UTC),
            message=redact(message),
            level=level,
            process=HETCTL,
            pid=os.getpid(),
            event=event,
            fields={
                name: redact(value) if isinstance(value, str) else value
                for name, value in fields.items()
            },
        )

    def to_json(self) -> str:
        """One line of ASCII: a JSON object, whatever the server wrote."""
        document: dict[str, object] = {
            "time": self.time.isoformat(timespec="microseconds"),
            "level": self.level,
            "process": self.process,
            "pid": self.pid,
            "rank": self.rank,
            "source": self.source,
            "message": self.message,
        }
        if self.event is not None:
            document["event"] = self.event
        document.update(self.fields)
        return json.dumps({_text(key): _plain(value) for key, value in document.items()})


_KEYS = frozenset({"time", "level", "process", "pid", "rank", "source", "message", "event"})


def without_escapes(text: str) -> str:
    """``text`` without what colours it or moves a cursor; secrets that this joins are masked."""
    return redact(_ESCAPES.sub("", text)) if "\x1b" in text else text


def _head(text: str) -> tuple[Level | None, str | None, str]:
    """The level and the source that a line begins with, and the rest."""
    if match := _VLLM.search(text, 0, _VLLM_WITHIN):
        return _level(match["level"]), match["source"], text[: match.start()] + text[match.end() :]
    rank = _TORCH_RANK.match(text)
    at = rank.end() if rank else 0
    if match := _UVICORN.match(text, at):
        return _level(match["level"]), None, text[match.end() :]
    if match := _GLOG.match(text, at):
        return _OF_LETTER[match["letter"]], match["source"], text[match.end() :]
    return None, None, text


def _level(text: str) -> Level:
    level: Level = text  # type: ignore[assignment]
    return level


def _plain(value: object) -> object:
    """What JSON has: no NaN, and no half of a character, which other readers refuse."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _text(str(value))


def _text(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)

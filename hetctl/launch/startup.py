"""What a starting vLLM server is doing, and why it failed, as its log tells it."""

import re
from pathlib import Path

_PHASES = (
    (re.compile(r"Starting to load model|Loading safetensors"), "loading weights"),
    (re.compile(r"Loading weights took"), "weights loaded"),
    (re.compile(r"Warming up model|Compile and warming up|torch\.compile"), "warming up"),
    (re.compile(r"KV cache size"), "KV cache allocated"),
    (re.compile(r"Capturing CUDA graphs"), "capturing CUDA graphs"),
    (re.compile(r"init engine .* took"), "engine ready, starting the API"),
)
_PREFIX = re.compile(r"^(\([^)]*\)\s*)*(ERROR|INFO|WARNING)\s+[\d-]+\s+[\d:.]+\s+\[[^\]]*\]\s*")
# As vllm_hetero's executor says it; the rank's own log says less.
_RANK_FAILED = re.compile(
    r"Rank \d+ \([^)]*\) (?:failed in [\w ]+: .+|was killed by .+|stalled .+|did not start.+|"
    r"ended by itself.+)|\w+ was not answered within .+"
)
_EXCEPTION = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Exit)(?:: .+|$)")
# vLLM's own, which name neither a rank nor a remedy. A rank that fails is told of before.
_ENGINE_ENDED = re.compile(r"Engine core initialization failed|EngineDeadError")
_CONSEQUENCE = re.compile(_ENGINE_ENDED.pattern + r"|^BrokenPipeError|^ConnectionResetError")
_ENGINE_GONE = (
    "The engine's process ended without a word from it or a rank: killed by someone, or by the "
    "kernel; start it again, or, if dmesg shows that memory ran out, give the CPU ranks fewer "
    "layers (--split) or a shorter context (--max-model-len)"
)
_REFUSAL = re.compile(r"^vllm_hetero: (.+)")


def phase(log: str) -> str:
    """The last phase that the log mentions, or ``starting``."""
    latest, at = "starting", -1
    for pattern, name in _PHASES:
        for match in pattern.finditer(log, max(at, 0)):
            if match.start() > at:
                latest, at = name, match.start()
    return latest


def cause(log: str) -> str | None:
    """The most telling sentence on why the server ended, or None.

    A rank's own words come first, then vLLM's validation errors, then the first
    exception (later ones are consequences).
    """
    lines = [_PREFIX.sub("", line).strip() for line in log.splitlines()]
    for line in lines:
        if found := _RANK_FAILED.search(line):
            return found.group()
        if found := _REFUSAL.search(line):
            return found.group(1)
    for line in lines:
        if line.startswith("Value error, "):
            return line.removeprefix("Value error, ").partition(" [type=")[0]
    for line in lines:
        if _EXCEPTION.match(line) and not _CONSEQUENCE.search(line):
            return line
    # Not only where a line begins so: vLLM puts the name of a process in front.
    if any(_ENGINE_ENDED.search(line) for line in lines):
        return _ENGINE_GONE
    for line in lines:
        if _EXCEPTION.match(line):
            return line
    errors = [line for line in lines if "error: " in line]
    return errors[-1] if errors else None


def tail(path: Path, limit_bytes: int = 4 * 1024**2) -> str:
    """The end of a log file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - limit_bytes))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""

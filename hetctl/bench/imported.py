"""An outside engine's own result file as a baseline.

Two formats are read: the JSON of ``vllm bench serve`` (which is run against SGLang, llama.cpp
and others, too), and the JSON lines of llama.cpp's ``llama-batched-bench --output-format
jsonl`` (``tools/batched-bench/batched-bench.cpp``). The latter is no server: it computes the
prompts of one batch, then its answers in lock-step, so all of its requests have the same
latency.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hetctl.bench import chat
from hetctl.bench.outside import check_name
from hetctl.bench.results import (
    Configuration,
    Distribution,
    Load,
    Measurement,
    Outside,
    Results,
    Run,
)
from hetctl.bench.vllm_result import measurement_of
from hetctl.errors import HetctlError, UsageError

_TOKENS_WITHIN = 0.05
"""Share by which tokens per request may differ: tokenizers and special tokens do."""
_BATCHED = {"pp", "tg", "pl", "t_pp", "t_tg", "t", "is_pp_shared"}
_LLAMA_BENCH = {"n_prompt", "n_gen", "avg_ts"}
_VLLM = {"total_input_tokens", "total_output_tokens", "request_throughput"}


@dataclass(frozen=True)
class Record:
    """One run of the outside engine."""

    engine: str
    model_name: str
    how: str
    """One sentence about how it was measured."""
    max_concurrency: int | None
    request_rate: float | None
    measurement: Measurement
    started: datetime


def parse_import(text: str) -> tuple[str, Path]:
    """Name and file in ``NAME=FILE``.

    Raises:
        UsageError: one of them is missing.
    """
    name, separator, file = text.partition("=")
    if not separator or not file:
        raise UsageError(f"--import {text!r} is not of the form NAME=FILE.")
    check_name("--import", text, name)
    return name, Path(file)


def with_import(results: Results, name: str, file: Path, folder: Path) -> Results:
    """The results with the file's runs as those of a configuration ``name``.

    Each run goes to the point of the same concurrency and request rate; several of one point
    count as repeats. The file is copied into ``folder``.

    Raises:
        UsageError: the file cannot be read, is of no known format, or holds no run of the
            same work as one of the points.
    """
    if any(one.name == name for one in results.configurations):
        raise UsageError(f"There is a configuration {name} already; import {file} as another name.")
    records = read_records(file)
    raw = f"raw/{name}-imported{file.suffix}"
    runs: list[Run] = []
    for load in results.loads:
        matching = [record for record in records if _is_at(record, load)]
        for repeat, record in enumerate(matching, 1):
            _require_same_work(record, load, file)
            runs.append(
                Run(
                    configuration=name,
                    repeat=repeat,
                    point=load.point,
                    started=record.started,
                    server_start_s=0.0,
                    measurement=record.measurement,
                    server_log=None,
                    load_log=None,
                    raw_result=raw,
                )
            )
    if not runs:
        raise UsageError(
            f"{file} has runs at {_listed(map(_point, records))}, and this benchmark at "
            f"{_listed(load.point for load in results.loads)}: none is the same."
        )
    (folder / raw).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / raw)
    first = records[0]
    configuration = Configuration(
        name=name,
        title=f"{first.engine}, imported",
        role="baseline",
        why=f"Measured by somebody else, with settings of its own: {first.how}",
        outside=Outside(engine=first.engine, model_name=first.model_name, file=str(file)),
    )
    return results.model_copy(
        update={
            "configurations": (*results.configurations, configuration),
            "runs": (*results.runs, *runs),
        }
    )


def read_records(file: Path) -> tuple[Record, ...]:
    """Every run in the file.

    Raises:
        UsageError: it cannot be read, is cut short, or is of no known format.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"Cannot read the result file {file}: {reason}.") from error
    found = [_record(data, file) for data in _objects(text, file)]
    if not found:
        raise UsageError(f"{file} holds no result.")
    return tuple(found)


def _objects(text: str, file: Path) -> Iterator[Mapping[str, Any]]:
    """JSON objects, one after the other; llama.cpp's log lines between them are passed over."""
    decoder = json.JSONDecoder()
    at = 0
    while (at := _next_object(text, at)) >= 0:
        try:
            data, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{file} is cut short or damaged (line {error.lineno}: {error.msg})."
            ) from error
        yield data


def _next_object(text: str, at: int) -> int:
    """Where a line, from ``at`` on, begins with ``{``; -1 if none does."""
    if text.startswith("{", at) and (at == 0 or text[at - 1] in "\r\n"):
        return at
    found = text.find("\n{", at)
    return found + 1 if found >= 0 else -1


def _record(data: Mapping[str, Any], file: Path) -> Record:
    if data.keys() >= _BATCHED:
        return _batched(data, file)
    if data.keys() >= _VLLM:
        return _served(data, file)
    if data.keys() >= _LLAMA_BENCH:
        raise UsageError(
            f"{file} is of llama-bench, which measures prompts and answers apart and one at a "
            "time; take llama-batched-bench with --output-format jsonl, or --against its server."
        )
    raise UsageError(
        f"{file} is neither a result of 'vllm bench serve' nor of 'llama-batched-bench "
        "--output-format jsonl'."
    )


def _served(data: Mapping[str, Any], file: Path) -> Record:
    try:
        # Its limits are not known, so its goodput means nothing here.
        measurement = measurement_of({**data, "request_goodput": None}, file)
    except HetctlError as error:
        raise UsageError(str(error)) from error
    rate = data.get("request_rate", "inf")
    cap = data.get("max_concurrency")
    return Record(
        engine=str(data.get("label") or data.get("backend") or "outside"),
        model_name=str(data.get("model_id", "")),
        how="vllm bench serve was run against it.",
        max_concurrency=None if cap is None else int(cap),
        request_rate=None if rate in ("inf", None) else float(rate),
        measurement=measurement,
        started=_date(data.get("date"), file),
    )


def _batched(data: Mapping[str, Any], file: Path) -> Record:
    """``pl`` sequences of ``pp`` + ``tg`` tokens in ``t_pp`` + ``t_tg`` = ``t`` seconds."""
    if data["is_pp_shared"]:
        raise UsageError(
            f"{file} was measured with one prompt for all (-pps), which is other work; leave "
            "that out."
        )
    prompt, answer, count = data["pp"], data["tg"], data["pl"]
    total_s = data["t"]
    if not (prompt > 0 and answer > 0 and count > 0 and data["t_pp"] > 0 and data["t_tg"] > 0):
        raise UsageError(
            f"{file} has a run of {prompt} + {answer} tokens, which lacks a prompt or an answer."
        )
    per_token = _same_for_all(data["t_tg"] / answer)
    return Record(
        engine="llama.cpp",
        model_name="",
        how="llama-batched-bench, one batch in lock-step and no server, so that all requests "
        "have the same latency.",
        max_concurrency=count,
        request_rate=None,
        measurement=Measurement(
            duration_s=total_s,
            completed=count,
            failed=0,
            input_tokens=count * prompt,
            output_tokens=count * answer,
            request_throughput=count / total_s,
            output_throughput=count * answer / total_s,
            total_token_throughput=count * (prompt + answer) / total_s,
            ttft=_same_for_all(data["t_pp"]),
            tpot=per_token,
            itl=per_token,
            e2el=_same_for_all(total_s),
        ),
        started=_date(None, file),
    )


def _same_for_all(seconds: float) -> Distribution:
    return Distribution(mean_s=seconds, p50_s=seconds, p90_s=seconds, p95_s=seconds, p99_s=seconds)


def _date(text: object, file: Path) -> datetime:
    """vLLM's local time, or when the file was written."""
    try:
        return datetime.strptime(str(text), "%Y%m%d-%H%M%S").astimezone()
    except ValueError:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)


def _is_at(record: Record, load: Load) -> bool:
    return (record.max_concurrency, record.request_rate) == (
        load.max_concurrency,
        load.request_rate,
    )


def _point(record: Record) -> str:
    return Load(max_concurrency=record.max_concurrency, request_rate=record.request_rate).point


def _require_same_work(record: Record, load: Load, file: Path) -> None:
    measured = record.measurement
    theirs = (
        measured.input_tokens / measured.completed,
        measured.output_tokens / measured.completed,
    )
    ours = _mean_lengths(load)
    if any(abs(one / other - 1) > _TOKENS_WITHIN for one, other in zip(theirs, ours, strict=True)):
        raise UsageError(
            f"{file} has requests of {theirs[0]:.0f} + {theirs[1]:.0f} tokens at {load.point}, and "
            f"this benchmark of {ours[0]:.0f} + {ours[1]:.0f}: that is not the same work."
        )


def _mean_lengths(load: Load) -> tuple[float, float]:
    if load.dataset != "custom":
        return load.input_len, load.output_len
    drawn: Sequence[tuple[int, int]] = chat.lengths(load.seed, load.num_prompts)
    prompts, answers = zip(*drawn, strict=True)
    return sum(prompts) / len(drawn), sum(answers) / len(drawn)


def _listed(points: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(points))

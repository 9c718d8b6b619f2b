"""Requests of drawn lengths: the same each time, and as long as they claim to be."""

import json
from pathlib import Path
from statistics import fmean

import pytest

from hetctl.bench.chat import LONGEST, MEAN_INPUT_LEN, MEAN_OUTPUT_LEN, SHORTEST, lengths
from hetctl.bench.requests import requests_file
from hetctl.bench.results import Load
from hetctl.errors import UsageError
from hetctl.model.tiny import write_tiny

CHAT = Load(workload="chat", dataset="custom", num_prompts=40, seed=5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "model")
    return tmp_path / "model"


def test_lengths_have_the_documented_means_and_limits() -> None:
    drawn = lengths(0, 20_000)
    assert fmean(prompt for prompt, _ in drawn) == pytest.approx(MEAN_INPUT_LEN, rel=0.03)
    assert fmean(answer for _, answer in drawn) == pytest.approx(MEAN_OUTPUT_LEN, rel=0.03)
    flat = [length for pair in drawn for length in pair]
    assert (min(flat), max(flat)) == (SHORTEST, LONGEST)


def test_more_requests_begin_with_the_same_ones() -> None:
    assert lengths(7, 50)[:20] == lengths(7, 20)
    assert lengths(7, 20) != lengths(8, 20)


def test_prompts_have_their_length_in_the_models_own_tokens(model: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    path = requests_file(CHAT, str(model), tmp_path)
    assert path is not None
    requests = [json.loads(line) for line in path.read_text().splitlines()]
    counted = [(len(tokenizer.encode(one["prompt"]).ids), one["output_tokens"]) for one in requests]
    assert counted == list(lengths(CHAT.seed, CHAT.num_prompts))
    assert len({one["prompt"] for one in requests}) == len(requests)


def test_special_tokens_count_as_the_server_counts_them(model: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    special = tokenizer.id_to_token(0)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special} $A {special}", special_tokens=[(special, 0)]
    )
    tokenizer.save(str(model / "tokenizer.json"))
    path = requests_file(CHAT, str(model), tmp_path)
    assert path is not None
    prompts = [json.loads(line)["prompt"] for line in path.read_text().splitlines()]
    counted = [len(tokenizer.encode(prompt).ids) for prompt in prompts]
    assert counted == [prompt for prompt, _ in lengths(CHAT.seed, CHAT.num_prompts)]


def test_the_file_is_made_once_and_the_same_each_time(model: Path, tmp_path: Path) -> None:
    first, second = (requests_file(CHAT, str(model), tmp_path / side) for side in ("a", "b"))
    assert first is not None
    assert second is not None
    assert first.read_bytes() == second.read_bytes()
    before = first.stat().st_mtime_ns
    assert requests_file(CHAT, str(model), tmp_path / "a") == first
    assert first.stat().st_mtime_ns == before
    assert requests_file(Load(), str(model), tmp_path) is None


def test_a_model_without_a_tokenizer_it_can_read_is_refused(model: Path, tmp_path: Path) -> None:
    (model / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match=r"Cannot read the tokenizer .*tokenizer\.json"):
        requests_file(CHAT, str(model), tmp_path)
    (model / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"has no tokenizer\.json, which the workload chat"):
        requests_file(CHAT, str(model), tmp_path)

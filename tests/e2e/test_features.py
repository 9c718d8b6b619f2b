"""What users send to an OpenAI-compatible server, on one pipeline of two CPU ranks.

Where an answer can be computed, ``transformers`` computes it here from the same weights.
"""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.docs.http_request import documented_requests
from tests.e2e.engine import ServeProcess
from tests.e2e.lora import merged_model, write_adapter
from tests.soak.malformed import bombard

pytestmark = [pytest.mark.engine, pytest.mark.patient]

OPTIONS = (
    "--split 3,5 --cpu-ranks 2 --dtype float32 --max-model-len 512 --concurrency 8 "
    "--input-len 128 --output-len 32 -- --enable-prompt-tokens-details "
    # Longer prompts take several steps.
    "--max-num-batched-tokens 256 "
    # Whitespace without end is JSON, too.
    "--structured-outputs-config.backend xgrammar "
    "--structured-outputs-config.disable_any_whitespace true "
    "--enable-lora --max-lora-rank 8 --lora-modules tuned={adapter}"
)
TOKENS = 24
EOS = 0
BLOCK = 128
WAIT_S = 30
# The demo model knows one text by heart; of what follows these it is less sure, so that
# penalties and adapters change its mind.
NONSENSE = [[7, 99, 500, 3], [640, 12, 881], [15, 333, 42, 900, 71], [402, 402, 17]]


@pytest.fixture(scope="module")
def adapter(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(demo_model, tmp_path_factory.mktemp("lora") / "adapter")


@pytest.fixture(scope="module")
def server(
    demo_model: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServeProcess]:
    log = tmp_path_factory.mktemp("features") / "log"
    with ServeProcess(demo_model, (OPTIONS.format(adapter=adapter),), log) as server:
        assert len(server.ranks()) == 2
        yield server


@pytest.fixture(scope="module")
def client(server: ServeProcess) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1", api_key="-", max_retries=0, timeout=60
    )


@pytest.fixture
def complete(server: ServeProcess, client: openai.OpenAI) -> Callable[..., Any]:
    """``/v1/completions``: greedy and of :data:`TOKENS` tokens unless told otherwise."""

    def call(prompt: Any, **options: Any) -> Any:
        defaults = {"model": str(server.model), "max_tokens": TOKENS, "temperature": 0}
        extra = {"return_token_ids": True, **options.pop("extra_body", {})}
        return client.completions.create(prompt=prompt, **{**defaults, **options}, extra_body=extra)

    return call


@pytest.fixture(scope="module")
def reference(demo_model: Path) -> Iterator[Any]:
    """The model in ``transformers``, float32, on one thread: the server needs the cores."""
    import torch
    from transformers import AutoModelForCausalLM

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32)
    torch.set_num_threads(threads)


def greedy(
    model: Any,
    prompt: list[int],
    change: Callable[[Any, list[int], list[int]], Any] = lambda logits, prompt, output: logits,
) -> list[int]:
    """Greedy tokens by ``transformers``; ``change`` maps logits, given prompt and output."""
    import torch

    output: list[int] = []
    with torch.no_grad():
        for _ in range(TOKENS):
            logits = model(torch.tensor([prompt + output])).logits[0, -1]
            output.append(int(change(logits, prompt, output).argmax()))
    return output


def log_probabilities(model: Any, tokens: list[int]) -> Any:
    """Of each next token, [len(tokens), vocabulary]."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].log_softmax(-1)


def metric(server: ServeProcess, name: str, **labels: str) -> float:
    """Sum of a Prometheus metric over its series with ``labels``."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    series = [line for line in lines if re.match(rf"{name}[{{ ]", line)]
    assert series, name
    return sum(
        float(line.rpartition(" ")[2]) for line in series if all(label in line for label in wanted)
    )


def test_greedy_tokens_are_those_of_transformers(
    complete: Callable[..., Any], reference: Any, prompts: list[list[int]]
) -> None:
    for prompt in prompts[:4]:
        assert complete(prompt).choices[0].token_ids == greedy(reference, prompt)


def test_a_stream_says_the_same_in_pieces(
    complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    whole = complete(prompts[3])
    chunks = list(complete(prompts[3], stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].text for chunk in chunks if chunk.choices]
    assert len([piece for piece in pieces if piece]) > TOKENS // 2
    assert "".join(pieces) == whole.choices[0].text
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == TOKENS


def test_several_choices_are_drawn_apart_and_repeat_with_their_seed(
    complete: Callable[..., Any],
) -> None:
    def drawn(seed: int) -> list[list[int]]:
        answer = complete(NONSENSE[0], n=4, temperature=2, seed=seed)
        return [choice.token_ids for choice in sorted(answer.choices, key=lambda c: c.index)]

    first = drawn(seed=1)
    assert len({tuple(tokens) for tokens in first}) == 4
    assert drawn(seed=1) == first
    assert drawn(seed=2) != first


def test_a_seed_draws_the_same_after_a_prompt_in_one_step_or_several(
    complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    prompt = next(p for p in prompts if len(p) > 2 * BLOCK + 20)[20 : 2 * BLOCK + 40]
    in_chunks, from_cache = (complete(prompt, temperature=2, seed=7) for _ in range(2))
    assert in_chunks.usage.prompt_tokens_details.cached_tokens == 0
    assert from_cache.usage.prompt_tokens_details.cached_tokens == 2 * BLOCK
    assert from_cache.choices[0].token_ids == in_chunks.choices[0].token_ids


def test_without_a_seed_each_draw_is_its_own(complete: Callable[..., Any]) -> None:
    drawn = {tuple(complete(NONSENSE[1], temperature=2).choices[0].token_ids) for _ in range(3)}
    assert len(drawn) == 3


def test_log_probabilities_are_those_of_transformers(
    complete: Callable[..., Any], reference: Any, prompts: list[list[int]]
) -> None:
    prompt = prompts[4]
    choice = complete(prompt, logprobs=5).choices[0]
    expected = log_probabilities(reference, prompt + choice.token_ids)[len(prompt) - 1 : -1]
    for position, token in enumerate(choice.token_ids):
        best = sorted(choice.logprobs.top_logprobs[position].values(), reverse=True)
        assert best[:5] == pytest.approx(expected[position].topk(5).values.tolist(), abs=1e-3)
        own = choice.logprobs.token_logprobs[position]
        assert own == pytest.approx(float(expected[position][token]), abs=1e-3)
        assert own == best[0]


def test_a_prompt_is_scored_token_by_token(
    complete: Callable[..., Any], reference: Any, prompts: list[list[int]]
) -> None:
    # Longer than a KV-cache block, and prefilled afresh although it may be cached.
    prompt = next(p for p in prompts if BLOCK < len(p) < 400)
    scored = complete(prompt, echo=True, logprobs=1, max_tokens=1).choices[0].logprobs
    expected = log_probabilities(reference, prompt)
    own = [float(expected[i, token]) for i, token in enumerate(prompt[1:])]
    assert scored.token_logprobs[0] is None
    assert scored.token_logprobs[1 : len(prompt)] == pytest.approx(own, abs=1e-3)


def _presence(logits: Any, prompt: list[int], output: list[int]) -> Any:
    logits = logits.clone()
    logits[list(set(output))] -= 2.0
    return logits


def _frequency(logits: Any, prompt: list[int], output: list[int]) -> Any:
    import torch

    return logits - 2.0 * torch.bincount(torch.tensor(output, dtype=int), minlength=len(logits))


def _repetition(logits: Any, prompt: list[int], output: list[int]) -> Any:
    import torch

    seen = torch.zeros(len(logits), dtype=torch.bool)
    seen[prompt + output] = True
    return torch.where(seen, torch.where(logits > 0, logits / 1.8, logits * 1.8), logits)


@pytest.mark.parametrize(
    ("penalty", "change"),
    [
        ({"presence_penalty": 2.0}, _presence),
        ({"frequency_penalty": 2.0}, _frequency),
        ({"extra_body": {"repetition_penalty": 1.8}}, _repetition),
    ],
    ids=["presence", "frequency", "repetition"],
)
def test_penalties_change_the_tokens_by_their_formula(
    complete: Callable[..., Any],
    reference: Any,
    penalty: dict[str, Any],
    change: Callable[..., Any],
) -> None:
    expected = [greedy(reference, prompt, change) for prompt in NONSENSE[1:3]]
    assert expected != [greedy(reference, prompt) for prompt in NONSENSE[1:3]]
    answers = [complete(prompt, **penalty).choices[0].token_ids for prompt in NONSENSE[1:3]]
    assert answers == expected


def test_a_biased_token_is_never_or_always_chosen(
    complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    usual = complete(prompts[2]).choices[0].token_ids
    banned = complete(prompts[2], logit_bias={str(usual[0]): -100})
    assert usual[0] not in banned.choices[0].token_ids
    forced = complete(prompts[2], logit_bias={str(usual[5]): 100})
    assert set(forced.choices[0].token_ids) == {usual[5]}


@pytest.mark.parametrize(
    ("constraint", "pattern"),
    [
        ({"choice": ["a GPU rank", "a CPU rank"]}, r"a (GPU|CPU) rank"),
        ({"regex": r"[A-F]{4}-[0-9]{3}"}, r"[A-F]{4}-[0-9]{3}"),
        ({"grammar": 'root ::= "yes" | "no" " " root'}, r"(no )*yes"),
    ],
    ids=["choice", "regex", "grammar"],
)
def test_structured_output_obeys(
    complete: Callable[..., Any],
    prompts: list[list[int]],
    constraint: dict[str, Any],
    pattern: str,
) -> None:
    choice = complete(
        prompts[1], max_tokens=64, extra_body={"structured_outputs": constraint}
    ).choices[0]
    assert choice.finish_reason == "stop"
    assert re.fullmatch(pattern, choice.text)


def test_json_obeys_its_schema(client: openai.OpenAI, server: ServeProcess) -> None:
    schema = {
        "type": "object",
        "properties": {
            "device": {"enum": ["cpu", "cuda"]},
            "layers": {"type": "array", "items": {"enum": [1, 2, 3]}, "maxItems": 3},
            "pinned": {"type": "boolean"},
        },
        "required": ["device", "layers", "pinned"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=str(server.model),
        messages=[{"role": "user", "content": "Batching bends the law"}],
        max_tokens=200,
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "rank", "schema": schema, "strict": True},
        },
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert set(found) == {"device", "layers", "pinned"}
    assert found["device"] in ("cpu", "cuda")
    assert isinstance(found["pinned"], bool)
    assert set(found["layers"]) <= {1, 2, 3}


def test_a_repeated_prefix_is_a_cache_hit_and_changes_no_token(
    server: ServeProcess, complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    prompt = next(p for p in prompts if len(p) > 2 * BLOCK)[: 2 * BLOCK + 20][::-1]
    before = metric(server, "vllm:prefix_cache_hits_total")
    first, second = complete(prompt), complete(prompt)
    whole_blocks = (len(prompt) - 1) // BLOCK * BLOCK
    assert second.usage.prompt_tokens_details.cached_tokens == whole_blocks
    assert metric(server, "vllm:prefix_cache_hits_total") - before == whole_blocks
    assert second.choices[0].token_ids == first.choices[0].token_ids


def test_a_client_that_leaves_ends_its_request(
    server: ServeProcess, complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    started = metric(server, "vllm:generation_tokens_total")
    options = {"max_tokens": 480, "extra_body": {"ignore_eos": True}}
    for _ in range(3):
        with closing(complete(prompts[0], stream=True, **options)) as stream:
            next(iter(stream))
    deadline = time.monotonic() + WAIT_S
    while metric(server, "vllm:num_requests_running"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert metric(server, "vllm:generation_tokens_total") - started < 480
    assert len(complete(prompts[0]).choices[0].token_ids) == TOKENS


def test_generation_stops_before_a_stop_string(
    complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    text = complete(prompts[1]).choices[0].text
    word = text.split()[3]
    stopped = complete(prompts[1], stop=[word]).choices[0]
    assert stopped.text == text[: text.index(word)]
    assert (stopped.finish_reason, stopped.stop_reason) == ("stop", word)


def test_the_end_token_ends_unless_told_otherwise(
    complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    bias = {str(EOS): 100}
    at_once = complete(prompts[2], logit_bias=bias)
    assert at_once.choices[0].finish_reason == "stop"
    assert at_once.usage.completion_tokens == 1
    later = complete(prompts[2], logit_bias=bias, extra_body={"min_tokens": 5})
    assert later.usage.completion_tokens == 6
    never = complete(prompts[2], logit_bias=bias, extra_body={"ignore_eos": True})
    assert (never.choices[0].finish_reason, never.usage.completion_tokens) == ("length", TOKENS)


def test_chat_applies_the_model_s_template(
    client: openai.OpenAI, server: ServeProcess, complete: Callable[..., Any]
) -> None:
    answer = client.chat.completions.create(
        model=str(server.model),
        messages=[
            {"role": "system", "content": "Batching bends the law"},
            {"role": "user", "content": " without breaking it."},
        ],
        max_tokens=TOKENS,
        temperature=0,
    )
    expected = complete("Batching bends the law without breaking it.").choices[0].text
    assert answer.choices[0].message.content == expected


def test_a_lora_adapter_answers_beside_its_base_model(
    complete: Callable[..., Any],
    reference: Any,
    demo_model: Path,
    adapter: Path,
) -> None:
    tuned = merged_model(demo_model, adapter)
    expected = [greedy(model, prompt) for prompt in NONSENSE for model in (tuned, reference)]
    assert expected[0::2] != expected[1::2]
    calls = [(prompt, model) for prompt in NONSENSE for model in ("tuned", str(demo_model))]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(lambda call: complete(call[0], model=call[1]), calls))
    assert [answer.choices[0].token_ids for answer in answers] == expected


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": [5] * 600},
        {"max_tokens": -1},
        {"temperature": -1.0},
        {"logprobs": 10_000},
        {"extra_body": {"structured_outputs": {"regex": "("}}},
        {"logit_bias": {"99999": 1.0}},
    ],
    ids=str,
)
def test_a_bad_request_is_the_client_s_fault_and_harms_no_one(
    complete: Callable[..., Any], prompts: list[list[int]], options: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        complete(options.pop("prompt", prompts[0]), **options)
    assert len(complete(prompts[0]).choices[0].token_ids) == TOKENS


def test_what_is_no_request_at_all_is_refused(
    server: ServeProcess, complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v1/completions",
        data=b'{"prompt": ',
        headers={"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.code in (400, 422)
    with pytest.raises(openai.NotFoundError):
        complete(prompts[0], model="no-such-model")


def test_the_requests_that_the_documentation_shows_are_answered(server: ServeProcess) -> None:
    requests = documented_requests()
    assert requests
    for request in requests:
        answer = json.loads(request.send(server.port, model=str(server.model)))
        assert answer["choices"][0]["text"]


def test_malformed_requests_are_refused_and_harm_no_one(
    server: ServeProcess, complete: Callable[..., Any], prompts: list[list[int]]
) -> None:
    """A sample of what ``tests/soak/malformed.py`` sends by the thousand."""
    before = complete(prompts[0]).choices[0].token_ids
    report = bombard(server, 150, seed=7)
    assert [f"{o.status}: {o.request.what}" for o in report.unclean()] == []
    refused = sum(400 <= (outcome.status or 0) < 500 for outcome in report.outcomes)
    assert refused > 75
    assert complete(prompts[0]).choices[0].token_ids == before
    for sizes in report.rss_bytes.values():
        assert max(sizes) - sizes[0] < 64 * 1024**2

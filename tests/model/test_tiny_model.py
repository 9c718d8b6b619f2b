"""The demo model loads, and its choices are so clear that two runs can be compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from hetctl.model.tiny import write_tiny

# Above this, neither float32 sums in another order (1e-5) nor bfloat16 weights and
# activations (some 0.1 on these logits) change a greedy choice.
MIN_MARGIN = 3.0

PROMPTS = json.loads((Path(__file__).parents[1] / "prompts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model"
    write_tiny(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_the_shape_suits_uneven_stages_and_tensor_parallelism(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "bfloat16"
    assert config["num_hidden_layers"] == 8
    assert config["head_dim"] == 64
    assert config["num_attention_heads"] % 4 == 0
    assert config["num_key_value_heads"] < config["num_attention_heads"]
    assert config["max_position_embeddings"] == 2048
    assert config["hidden_size"] % 64 == config["vocab_size"] % 64 == 0
    assert config["intermediate_size"] % (4 * 32) == 0


def test_the_weights_are_those_of_the_config(model: Any, tokenizer: Any) -> None:
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert sum(p.numel() for p in model.parameters()) == 3_345_600
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.eos_token_id == model.config.eos_token_id == 0


@pytest.mark.parametrize("text", ["A pipeline", "  two  spaces\n\n", "Größe 42 ½", "한국어 🙂", ""])
def test_every_text_round_trips_through_the_tokenizer(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_chat_is_its_messages_text(tokenizer: Any) -> None:
    chat = [{"role": "user", "content": "Counting down."}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "Counting down."


def test_the_prompts_are_of_mixed_lengths(tokenizer: Any) -> None:
    lengths = [len(tokenizer(p["prompt"])["input_ids"]) for p in PROMPTS]
    assert lengths == [p["tokens"] for p in PROMPTS]
    assert len(lengths) == len(set(lengths)) == 16
    assert min(lengths) == 1
    assert max(lengths) == 700


@pytest.mark.parametrize("prompt", PROMPTS, ids=[f"{p['tokens']}-tokens" for p in PROMPTS])
def test_greedy_choices_are_clear_cut_and_as_recorded(
    model: Any, tokenizer: Any, prompt: dict[str, Any]
) -> None:
    import torch

    tokens = tokenizer(prompt["prompt"])["input_ids"]
    text = torch.tensor([tokens + prompt["greedy_ids"]])
    with torch.inference_mode():
        logits = model(text).logits[0, len(tokens) - 1 : -1]
    best = logits.topk(2)
    assert best.indices[:, 0].tolist() == prompt["greedy_ids"]
    assert tokenizer.decode(prompt["greedy_ids"]) == prompt["greedy"]
    assert float((best.values[:, 0] - best.values[:, 1]).min()) > MIN_MARGIN


def test_bfloat16_makes_the_same_choices(folder: Path, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    for prompt in PROMPTS:
        tokens = tokenizer(prompt["prompt"])["input_ids"]
        text = torch.tensor([tokens + prompt["greedy_ids"]])
        with torch.inference_mode():
            logits = model(text).logits[0, len(tokens) - 1 : -1]
        assert logits.argmax(-1).tolist() == prompt["greedy_ids"], prompt["tokens"]

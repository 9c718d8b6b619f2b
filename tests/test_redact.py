"""Secrets are left out, and nothing else."""

import pytest

from hetctl.redact import MASK, is_secret_name, redact, secrets_of


@pytest.mark.parametrize(
    "text",
    [
        "--api-key s3cr3t-value",
        "--api-key=s3cr3t-value",
        "'--api-key', 's3cr3t-value'",
        'api_key = "s3cr3t-value"',
        '{"hf_token": "s3cr3t-value"}',
        "{'api_key': ['s3cr3t-value']}",
        "VLLM_API_KEY=s3cr3t-value",
        "export WANDB_API_KEY='s3cr3t-value'",
        "https://me:s3cr3t-value@mirror.example/simple",
        "https://s3cr3t-value@mirror.example/simple",
        "https:/me:s3cr3t-value@mirror.example",
        "GET /v1/models?access_token=s3cr3t-value&x=1",
        "Authorization: Bearer s3cr3t-value",
        "authorization: basic s3cr3t-value",
        "db_password: s3cr3t-value",
    ],
)
def test_secrets_are_masked_wherever_they_stand(text: str) -> None:
    assert "s3cr3t" not in redact(text)
    assert MASK in redact(text)


@pytest.mark.parametrize(
    "secret", ["hf_" + "a1B2" * 8, "sk-" + "a1B2" * 8, "ghp_" + "a1B2" * 9, "AKIA" + "A1B2" * 4]
)
def test_keys_are_known_by_their_shape(secret: str) -> None:
    assert secret not in redact(f"something went wrong with {secret} here")


@pytest.mark.parametrize(
    "text",
    [
        "first token in 0.2 s, 500 tokens: 12 per second",
        "max_num_batched_tokens=2048, tokenizer='tiny', num_tokens: 5",
        "bos_token_id=1 eos_token=</s> stop_token_ids=[2]",
        "http://127.0.0.1:8000/v1",
        "key: value",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_the_values_of_secret_variables_are_found_anywhere() -> None:
    environment = {
        "MY_SECRET": "opensesame",
        "HTTPS_PROXY": "http://me:proxy-pass@proxy:1",
        "NOTE": "hf_abcdefghijklmnop",
        "DEBUG_TOKEN": "1",
        "HOME": "/home/me",
    }
    secrets = secrets_of(environment)
    assert set(secrets) == {"opensesame", "proxy-pass", "hf_abcdefghijklmnop"}
    assert redact("open opensesame! 1 /home/me", secrets) == f"open {MASK}! 1 /home/me"


@pytest.mark.parametrize("name", ["HF_TOKEN", "OPENAI_API_KEY", "api-key", "PGPASSWORD", "SSH_KEY"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max-num-batched-tokens", "TOKENIZERS_PARALLELISM", "KEYBOARD"])
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret_name(name)

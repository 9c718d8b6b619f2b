"""Secrets are left out, and nothing else."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hetctl import redact as redaction
from hetctl.redact import MASK, is_secret_name, redact, secrets_of, secrets_of_arguments


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


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a1B2" * 8,
        "sk-" + "a1B2" * 8,
        "ghp_" + "a1B2" * 9,
        "AKIA" + "A1B2" * 4,
        JWT,
        f"x-{JWT}",
    ],
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


def test_every_value_of_a_secret_argument_is_found() -> None:
    argv = ("vllm", "serve", "some-model", "--api-key", "first-key", "other-key", "--port", "8000")
    assert set(secrets_of_arguments((*argv, "--hf-token=a-token"))) == {
        "first-key",
        "other-key",
        "a-token",
    }


PIECES = (
    *(
        "token",
        "secret",
        "Password",
        "credential",
        "api_key",
        "ACCESS-KEY",
        "batched_tokens",
        "ſecret",
    ),
    *("bearer ", "Basic\n", "hf_", "sk-", "ghp_", "AKIA", "xoxb-", "eyJ", "a1B2c3D4" * 3, "https"),
    *(":", "/", "@", "=", "-", "--", ".", "_", " ", "'", '"', "[", ",", "\n"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("token://x@y")
def test_no_line_is_passed_over_that_an_expression_would_change(text: str) -> None:
    thorough = redaction._URL_PASSWORD.sub(rf"\g<slashes>{MASK}@", text)
    thorough = redaction._HEADER.sub(rf"\g<kind> {MASK}", thorough)
    thorough = redaction._SHAPES.sub(MASK, thorough)
    thorough = redaction._NAMED.sub(redaction._mask_named, thorough)
    assert redact(text) == thorough


@pytest.mark.parametrize(
    "unit", ["a.", "-eyJaaaaaaaa", "eyJa-", "token ", "a:/", "--", "--token ", "basic ", "token\n"]
)
def test_a_line_without_end_takes_no_time_without_end(unit: str) -> None:
    """With the square of its length, each would take minutes, and the file's time limit ends it."""
    redact(unit * (2**20 // len(unit)))

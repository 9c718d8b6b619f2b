"""The generator's command line and environment."""

import itertools
from pathlib import Path

from hetctl.bench.load_command import load_argv, load_environment
from hetctl.bench.results import Load


def options(load: Load) -> dict[str, str]:
    argv = load_argv(
        load,
        base_url="http://h:1",
        served_name="served",
        tokenizer="org/model",
        result_file=Path("/out/raw/a-1.json"),
    )
    return {name: value for name, value in itertools.pairwise(argv) if name[:2] == "--"}


def test_the_load_is_passed_on() -> None:
    got = options(Load(input_len=7, output_len=3, num_prompts=5, max_concurrency=2, seed=9))
    assert got["--random-input-len"] == "7"
    assert got["--random-output-len"] == "3"
    assert got["--num-prompts"] == "5"
    assert got["--max-concurrency"] == "2"
    assert got["--seed"] == "9"
    assert got["--request-rate"] == "inf"
    assert got["--temperature"] == "0"
    assert (got["--model"], got["--tokenizer"]) == ("served", "org/model")
    assert (got["--result-dir"], got["--result-filename"]) == ("/out/raw", "a-1.json")


def test_a_request_rate_is_passed_on() -> None:
    assert options(Load(request_rate=2.5))["--request-rate"] == "2.5"


def test_the_client_is_no_rank_and_sees_the_machines_devices() -> None:
    caller = {
        "CUDA_VISIBLE_DEVICES": "-1",
        "PATH": "/bin",
        "VLLM_HETERO_RANK_MAP": "{}",
        "VLLM_HETEROGENEOUS_PLATFORM": "1",
    }
    env = load_environment(caller, "org/model")
    assert env["PATH"] == "/bin"
    assert not [name for name in env if name.startswith("VLLM_HETERO")]
    assert "CUDA_VISIBLE_DEVICES" not in env
    assert env["VLLM_PLUGINS"] == ""
    assert "VLLM_HETERO_RANK_MAP" in caller, "the caller's own environment must not change"


def test_a_model_folder_needs_no_network(tmp_path: Path) -> None:
    assert load_environment({}, str(tmp_path))["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in load_environment({}, "org/model")

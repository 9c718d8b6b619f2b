"""The generator's command line and environment."""

import itertools
from pathlib import Path

from hetctl.bench.load_command import load_argv, load_environment
from hetctl.bench.results import Load, Slo


def argv_of(load: Load, requests_file: Path | None = None) -> tuple[str, ...]:
    return load_argv(
        load,
        base_url="http://h:1",
        served_name="served",
        tokenizer="org/model",
        result_file=Path("/out/raw/a-1.json"),
        requests_file=requests_file,
    )


def options(load: Load, requests_file: Path | None = None) -> dict[str, str]:
    argv = argv_of(load, requests_file)
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
    got = options(Load(request_rate=2.5, burstiness=0.5, max_concurrency=None))
    assert (got["--request-rate"], got["--burstiness"]) == ("2.5", "0.5")
    assert "--max-concurrency" not in got, "an open loop sends whatever is under way"


def test_a_shared_prefix_is_passed_on() -> None:
    got = options(
        Load(
            dataset="prefix_repetition", input_len=100, prefix_len=80, num_prefixes=4, output_len=9
        )
    )
    assert got["--dataset-name"] == "prefix_repetition"
    assert got["--prefix-repetition-prefix-len"] == "80"
    assert got["--prefix-repetition-suffix-len"] == "20"
    assert got["--prefix-repetition-num-prefixes"] == "4"
    assert got["--prefix-repetition-output-len"] == "9"
    assert "--random-input-len" not in got


def test_a_file_of_requests_is_sent_as_it_is() -> None:
    argv = argv_of(Load(dataset="custom"), Path("/out/requests/chat.jsonl"))
    got = options(Load(dataset="custom"), Path("/out/requests/chat.jsonl"))
    assert (got["--dataset-name"], got["--dataset-path"]) == ("custom", "/out/requests/chat.jsonl")
    assert got["--custom-output-len"] == "-1", "each request has its own length"
    assert {"--skip-chat-template", "--disable-shuffle", "--no-oversample"} <= set(argv)


def test_an_slo_becomes_vllms_goodput_in_milliseconds() -> None:
    argv = argv_of(Load(slo=Slo(ttft_s=2, tpot_s=0.08)))
    assert argv[argv.index("--goodput") + 1 :] == ("ttft:2000", "tpot:80")
    assert "--goodput" not in argv_of(Load())


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

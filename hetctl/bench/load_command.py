"""The ``vllm bench serve`` process that sends the requests."""

import sys
from collections.abc import Mapping
from pathlib import Path

from hetctl.bench.results import Load
from hetctl.bench.vllm_result import PERCENTILE_METRICS, PERCENTILES

# vLLM's console script `vllm` is this module's main(); going through the interpreter that
# runs hetctl finds the same installation without asking PATH.
_VLLM = ("-m", "vllm.entrypoints.cli.main", "bench", "serve")


def load_argv(
    load: Load,
    *,
    base_url: str,
    served_name: str,
    tokenizer: str,
    result_file: Path,
    requests_file: Path | None = None,
) -> tuple[str, ...]:
    """The command line; the same load gives the same requests to any server.

    Args:
        served_name: the model's name in requests.
        tokenizer: folder or hub id; prompts are random tokens of its vocabulary.
        result_file: where the generator writes its JSON.
        requests_file: the requests themselves, of the dataset ``custom``.
    """
    options: dict[str, object] = {
        "--backend": "openai",
        "--base-url": base_url,
        "--model": served_name,
        "--tokenizer": tokenizer,
        "--dataset-name": load.dataset,
        **_dataset_options(load, requests_file),
        "--num-prompts": load.num_prompts,
        "--request-rate": "inf" if load.request_rate is None else load.request_rate,
        "--burstiness": load.burstiness,
        "--seed": load.seed,
        "--num-warmups": load.num_warmups,
        "--temperature": 0,
        "--percentile-metrics": ",".join(PERCENTILE_METRICS),
        "--metric-percentiles": ",".join(map(str, PERCENTILES)),
        "--result-dir": result_file.parent,
        "--result-filename": result_file.name,
    }
    if load.max_concurrency is not None:
        options["--max-concurrency"] = load.max_concurrency
    flat = (str(part) for option in options.items() for part in option)
    flags = ["--ignore-eos", "--save-result", "--save-detailed"]
    if requests_file is not None:
        # The file is what is sent: its prompts as they are, in its order, and none twice.
        flags += ["--skip-chat-template", "--disable-shuffle", "--no-oversample"]
    limits = [f"{name}:{limit_s * 1e3:g}" for name, limit_s in load.slo.limits_s.items()]
    goodput = ["--goodput", *limits] if limits else []
    return (sys.executable, *_VLLM, *flat, *flags, *goodput)


def _dataset_options(load: Load, requests_file: Path | None) -> dict[str, object]:
    match load.dataset:
        case "random":
            return {
                "--random-input-len": load.input_len,
                "--random-output-len": load.output_len,
            }
        case "prefix_repetition":
            return {
                "--prefix-repetition-prefix-len": load.prefix_len,
                "--prefix-repetition-suffix-len": load.input_len - load.prefix_len,
                "--prefix-repetition-num-prefixes": load.num_prefixes,
                "--prefix-repetition-output-len": load.output_len,
            }
        case "custom":
            assert requests_file is not None
            # -1 takes each request's own length from the file.
            return {"--dataset-path": requests_file, "--custom-output-len": -1}


def load_environment(caller: Mapping[str, str], tokenizer: str) -> dict[str, str]:
    """The caller's environment, made that of a client: no rank, no plugin, no usage report.

    The generator imports vLLM, and with the server's variables it would take itself for a
    rank. It makes no CUDA context. vLLM asks NVML about the visible devices when it is
    imported, and fails where ``CUDA_VISIBLE_DEVICES`` names none, so that one goes, too.
    """
    env = {
        name: value
        for name, value in caller.items()
        if not name.startswith("VLLM_HETERO") and name != "CUDA_VISIBLE_DEVICES"
    }
    env |= {
        "VLLM_PLUGINS": "",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONUNBUFFERED": "1",
        # Tokenizing and torch's pool would otherwise take cores from CPU ranks.
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    if Path(tokenizer).is_dir():
        env["HF_HUB_OFFLINE"] = "1"
    return env

"""Greedy tokens of several models from one process, which imports vLLM once.

``python -m tests.e2e.offline JOBS`` reads a list of jobs from a JSON file and writes each
job's output beside it as soon as it is there. Two ways to run, by the environment:

* :func:`unsplit_environment`: vLLM's own CPU worker and executor in this very process. The
  plugin brings the kernels and the CPU platform, and none of the heterogeneous engine.
* :func:`split_environment`: the heterogeneous engine over pipeline ranks, each a process.
"""

import gc
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_S = 900
KV_CACHE_BYTES = 32 * 1024**2


@dataclass(frozen=True)
class Job:
    """One engine: the rounds of prompts that it answers, in token ids, one after the other."""

    model: Path
    rounds: list[list[list[int]]]
    max_tokens: int
    dtype: str = "float32"
    engine: dict[str, Any] = field(default_factory=dict)
    """Further arguments of ``vllm.LLM``."""


@dataclass(frozen=True)
class Answer:
    """Of one prompt: its greedy tokens, their log probabilities, and how many tokens of the
    prompt were found in the prefix cache."""

    tokens: list[int]
    logprobs: list[float]
    cached: int


def unsplit_environment() -> dict[str, str]:
    """vLLM alone on the CPU, in the caller's process."""
    return {**_environment(), "VLLM_HETERO_ROLE": "cpu", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def split_environment(stages: Sequence[int]) -> dict[str, str]:
    """CPU ranks, one for each number of layers in ``stages``."""
    ranks = [
        {"rank": rank, "device": "cpu", "layers": [sum(stages[:rank]), sum(stages[: rank + 1])]}
        for rank in range(len(stages))
    ]
    rank_map = {"schema": "vllm_hetero.rank_map/1", "ranks": ranks}
    return {**_environment(), "VLLM_HETERO_RANK_MAP": json.dumps(rank_map)}


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "VLLM_HETEROGENEOUS_PLATFORM": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        # vLLM compiles two small functions of the sampler even in an eager run: 6 s a rank.
        "TORCH_COMPILE_DISABLE": "1",
    }


def answers(jobs: dict[str, Job], env: dict[str, str], folder: Path) -> dict[str, Any]:
    """Run all jobs in one new process; each job's rounds of :class:`Answer`, or its error."""
    folder.mkdir(parents=True)
    listed = folder / "jobs.json"
    listed.write_text(json.dumps({name: asdict(job) for name, job in jobs.items()}, default=str))
    with (folder / "log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", __name__, str(listed)],
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    found = {}
    for name in jobs:
        written = folder / f"{name}.json"
        assert written.exists(), f"{name}: {(folder / 'log').read_text()[-4000:]}"
        found[name] = json.loads(written.read_text())
    return found


def _main(listed: Path) -> None:
    from vllm.model_executor.models import registry

    # vLLM looks at a model class it has not seen in a process of its own, lest CUDA be
    # initialised here; there is none, and that process takes 12 s.
    registry._run_in_subprocess = lambda look: look()
    for name, job in json.loads(listed.read_text()).items():
        try:
            found: Any = _run(job)
        except Exception as error:
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"}
        (listed.parent / f"{name}.json").write_text(json.dumps(found, default=asdict))


def _run(job: dict[str, Any]) -> list[list[Answer]]:
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory

    llm = LLM(
        str(job["model"]),
        skip_tokenizer_init=True,
        dtype=job["dtype"],
        max_model_len=512,
        max_num_seqs=8,
        # Less than the prompts of a round together: prefills come in chunks, beside decodes.
        max_num_batched_tokens=128,
        enforce_eager=True,
        disable_log_stats=True,
        kv_cache_memory_bytes=KV_CACHE_BYTES,
        **_rounds_alike(job["dtype"]),
        **job["engine"],
    )
    sampling = SamplingParams(
        temperature=0, max_tokens=job["max_tokens"], ignore_eos=True, logprobs=0, detokenize=False
    )
    rounds = []
    for prompts in job["rounds"]:
        outputs = llm.generate([{"prompt_token_ids": p} for p in prompts], sampling, use_tqdm=False)
        rounds.append([_answer(output) for output in outputs])
    llm.llm_engine.engine_core.shutdown()
    del llm
    gc.collect()
    cleanup_dist_env_and_memory()
    return rounds


def _rounds_alike(dtype: str) -> dict[str, Any]:
    """In half precision, an unsplit model computes norms and activations as CPU ranks do.

    vLLM's torch code rounds more often; in float32 that is too little to see.
    """
    if dtype == "float32" or os.environ.get("VLLM_HETERO_ROLE") != "cpu":
        return {}
    from vllm_hetero.patches import cpu_fused_ops

    cpu_fused_ops.apply()
    norms = [cpu_fused_ops.PROVIDER]
    return {"ir_op_priority": {"rms_norm": norms, "fused_add_rms_norm": norms}}


def _answer(output: Any) -> Answer:
    completion = output.outputs[0]
    tokens = list(completion.token_ids)
    chosen = zip(tokens, completion.logprobs, strict=True)
    return Answer(tokens, [step[token].logprob for token, step in chosen], output.num_cached_tokens)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

"""Greedy tokens of one engine over tensor-parallel and pipeline ranks.

Run as a script, ``python tensor_parallel.py MODEL TENSOR PIPELINE DTYPE OPTIONS OUT < PROMPTS``,
it writes the tokens to OUT as JSON; :func:`engine_tokens` does that for tests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

TOKENS = 24
TIMEOUT_S = 400


def engine_tokens(
    model: Path,
    prompts: list[list[int]],
    folder: Path,
    *,
    tensor: int,
    pipeline: int = 1,
    dtype: str = "float32",
    env: dict[str, str] | None = None,
    **options: object,
) -> list[list[int]]:
    """Start an engine in a process of its own, with the default rank map, and let it answer.

    Args:
        options: More arguments of vLLM's ``LLM``.
    """
    out = folder / f"tokens-{tensor}-{pipeline}.json"
    arguments = [str(model), str(tensor), str(pipeline), dtype, json.dumps(options), str(out)]
    run = subprocess.run(
        [sys.executable, __file__, *arguments],
        input=json.dumps(prompts),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={
            **os.environ,
            "VLLM_HETEROGENEOUS_PLATFORM": "1",
            "VLLM_HETERO_CPU_KV_CACHE_BYTES": str(256 << 20),
            **(env or {}),
        },
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    tokens: list[list[int]] = json.loads(out.read_text())
    return tokens


def main() -> None:
    from vllm import LLM, SamplingParams

    model, tensor, pipeline, dtype, options, out = sys.argv[1:]
    llm = LLM(
        model,
        tensor_parallel_size=int(tensor),
        pipeline_parallel_size=int(pipeline),
        dtype=dtype,
        max_model_len=1024,
        max_num_seqs=16,
        # So that a long prompt needs several steps.
        max_num_batched_tokens=128,
        gpu_memory_utilization=0.3,
        **json.loads(options),
    )
    prompts = [{"prompt_token_ids": prompt} for prompt in json.load(sys.stdin)]
    greedy = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    outputs = llm.generate(prompts, greedy)
    tokens = [list(output.outputs[0].token_ids) for output in outputs]
    Path(out).write_text(json.dumps(tokens))


if __name__ == "__main__":
    main()

"""One engine on CPU ranks, for ``test_cpu_rank_features.py``; prints JSON after ``RESULT``.

Usage: python cpu_rank_features.py MODEL TRACES < PROMPTS
"""

import json
import sys

from vllm import LLM, SamplingParams


def main() -> None:
    model, traces = sys.argv[1:3]
    llm = LLM(
        model,
        pipeline_parallel_size=2,
        dtype="float32",
        max_model_len=512,
        max_num_seqs=8,
        profiler_config={"profiler": "torch", "torch_profiler_dir": traces},
    )
    prompts = [{"prompt_token_ids": prompt} for prompt in json.load(sys.stdin)]
    greedy = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)

    def tokens() -> list[list[int]]:
        return [list(o.outputs[0].token_ids) for o in llm.generate(prompts, greedy)]

    llm.start_profile()
    profiled = tokens()
    llm.stop_profile()
    llm.sleep(level=1)
    llm.wake_up()
    print("RESULT", json.dumps({"profiled": profiled, "after_sleep": tokens()}))


if __name__ == "__main__":
    main()

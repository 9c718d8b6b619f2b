"""Makes every rank's forward pass slower by a known share, to try the gate on.

    SLOW_RANK=0.10 PYTHONPATH=benchmarks/slow_rank hetctl bench ...

Python imports this file when it starts. Each step sleeps for the share of the time that its
forward pass took, in the ranks and nowhere else. Without ``SLOW_RANK`` nothing changes.
"""

import importlib.util
import os
import sys
import time

TARGET = "vllm.v1.worker.gpu_model_runner"
SHARE = float(os.environ.get("SLOW_RANK", "0"))


def slow_down(runner):
    execute = runner.execute_model

    def slower(self, *args, **kwargs):
        began = time.monotonic()
        output = execute(self, *args, **kwargs)
        time.sleep(SHARE * (time.monotonic() - began))
        return output

    runner.execute_model = slower


class Hook:
    """Acts when the module of the model runners is imported, and not before."""

    def find_spec(self, name, path=None, target=None):
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_slow_down(module):
            load(module)
            slow_down(module.GPUModelRunner)

        spec.loader.exec_module = load_and_slow_down
        return spec


if SHARE > 0:
    sys.meta_path.insert(0, Hook())

"""Makes every step of an engine longer by a known share, to try the gate on.

    SLOW_RANK=0.10 PYTHONPATH=benchmarks/slow_rank hetctl bench ...

Python imports this file when it starts. After each forward pass, the rank sleeps for the share of
the time since it last slept: of the pass, and of what the engine did around it. So with one rank
and always something to do, all that is sent takes that share longer. Without ``SLOW_RANK`` nothing
changes.
"""

import importlib.util
import os
import sys
import time

TARGET = "vllm.v1.worker.gpu_model_runner"
SHARE = float(os.environ.get("SLOW_RANK", "0"))
MOST_TURNS = 3
"""An engine with nothing to do waits much longer than its passes take; that is no step."""


def slow_down(runner):
    execute = runner.execute_model
    slept = [float("-inf")]

    def slower(self, *args, **kwargs):
        began = time.monotonic()
        output = execute(self, *args, **kwargs)
        ended = time.monotonic()
        around = min(began - slept[0], MOST_TURNS * (ended - began))
        time.sleep(SHARE * (around + ended - began))
        slept[0] = time.monotonic()
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

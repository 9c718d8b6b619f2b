"""Installs in a process of its own: ``child_install.py WHEEL [stop before placing]``.

The pin is the one of WHEEL, and the fake installer serves it.
"""

import os
import sys
import time
from pathlib import Path

from conftest import VERSION, pin_of

from vllm_hetero.kernels import fetch, host, install, pins

wheel = Path(sys.argv[1])
pins.PINS[VERSION, "x86_64"] = pin_of(wheel)
host.vllm_version = lambda: VERSION
host.machine = lambda: "x86_64"
host.required_module = lambda: "_C"
fetch.has_pip = lambda: False
fetch.find_uv = lambda: os.environ["FAKE_UV"]

if sys.argv[2:] == ["stop before placing"]:

    def stop(*_args: object) -> None:
        print("placing", flush=True)
        time.sleep(60)

    # By its dotted name: the package's attribute of that name is the function.
    sys.modules["vllm_hetero.kernels.install"]._place = stop

print(install(progress=lambda phase: print(phase, flush=True)))

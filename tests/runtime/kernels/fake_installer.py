"""Stands in for ``python -m pip download`` and for ``uv pip install --target``.

``FAKE_WHEEL`` is what the index holds. ``FAKE_MODE``: ``fail`` prints ``FAKE_OUTPUT`` and
ends with 1; ``stall`` writes a part of the wheel and waits for ever; ``slow`` takes a while.
Arguments go to ``FAKE_LOG``.
"""

import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

args = sys.argv[1:]
requirements = Path(args[args.index("-r") + 1]).read_text(encoding="utf-8")
with Path(os.environ["FAKE_LOG"]).open("a", encoding="utf-8") as log:
    print(*args, requirements.strip(), file=log)
mode = os.environ.get("FAKE_MODE")
if mode == "fail":
    sys.exit(print(os.environ["FAKE_OUTPUT"]) or 1)
wheel = Path(os.environ["FAKE_WHEEL"])
by_pip = "--dest" in args
target = Path(args[args.index("--dest" if by_pip else "--target") + 1])
target.mkdir()
if mode == "stall":
    (target / wheel.name).write_bytes(wheel.read_bytes()[:1000])
    Path(os.environ["FAKE_LOG"]).with_suffix(".stalled").touch()
    time.sleep(60)
if mode == "slow":
    time.sleep(1)
if by_pip:
    shutil.copy(wheel, target)
else:
    zipfile.ZipFile(wheel).extractall(target)

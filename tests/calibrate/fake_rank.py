"""Stands in for a measuring process: a real process that answers at once.

``FAKE_RANK`` in the environment says what goes wrong: ``NAME=WORD`` for measurement ``NAME``,
with ``error``, ``absurd``, ``die``, ``kill``, ``hang``, or a signal for whoever started it:
``SIGINT``.
"""

import json
import os
import signal
import sys
import time

TABLES = {
    "weights": {"1": [2e9, 1e9, 3e9], "8": [1e9, 1e9, 1e9]},
    "uva": {"1": [2e9]},
    "attention": {"1": [2e9], "8": [3e9]},
    "copies": {"8192": [1e-5, 2e-5], "1000000": [1e-3]},
    "hop": {"8192": [1e-4], "1000000": [2e-3]},
    "all-reduce": {"8192": [2e-4], "1000000": [4e-3]},
    "layer": {"0": [1e-4]},
    "layer-in-graph": {"0": [1e-5]},
}


def main() -> None:
    wrong = dict(pair.split("=") for pair in os.environ.get("FAKE_RANK", "").split(",") if pair)
    answer(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        what = command.get("measure", "")
        go_wrong(wrong.get(what))
        if command.get("paths", "") is None:
            answer(say=["a path"])
        elif what == "memory-until-told":
            answer(say="reading")
            sys.stdin.readline()
        if wrong.get(what) == "absurd":
            answer(samples={"0": [1e30]})
        elif wrong.get(what) != "error":
            answer(samples=TABLES.get(what, {"0": [2e10, 1e10, 4e10]}))


def go_wrong(how: str | None) -> None:
    if how == "error":
        answer(error="it cannot be done")
    elif how == "die":
        print("Fatal: no such thing", file=sys.stderr)
        sys.exit(7)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hang":
        time.sleep(600)
    elif how is not None and how.startswith("SIG"):
        os.kill(os.getppid(), signal.Signals[how])
        time.sleep(600)


def answer(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()

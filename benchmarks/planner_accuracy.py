"""Predicted against measured: the tables of docs/results/planner.md.

    python benchmarks/planner_accuracy.py RUNS.json [--gpu-memory 12GiB] [--only uva,prefetch]
    python benchmarks/planner_accuracy.py RUNS.json --list
    python benchmarks/planner_accuracy.py RUNS.json --table > docs/results/planner.md

Each strategy is planned for each load and started as ``hetctl serve`` would, with random weights
(``tiled_weights``); one start serves all loads that ask for the same engine. ``auto`` is planned,
too, and costs a start of its own only where it chooses what no fixed strategy does. After each
load RUNS.json is written anew (and copied to ``$OUT`` where that is set); what it holds is not
measured again, so the grid can be measured in pieces. ``--seconds`` ends a piece in time: nothing
is begun that is predicted to last longer than what is left. ``--list`` starts nothing and shows
the engines, their loads and how long each will take. With ``--rounds 2`` all engines run in turn,
then once more, so that what disturbs the machine disturbs all alike.

On a machine with one H200, a line is a piece of under 9 minutes. Calibrate first (``hetctl probe
--calibrate``), or give ``--machine h200-box``; the machine needs the CPU kernels (``hetctl kernels
install``). Where the machine does not last, take RUNS.json along to the next one::

    P="python benchmarks/planner_accuracy.py runs.json"
    $P --seconds 520 --gpu-memory 16GiB --only prefetch,pipeline,auto
    $P --seconds 520 --gpu-memory 16GiB --only uva,pipeline,auto
    $P --seconds 130 --gpu-memory 24GiB --only gpu,auto; \
        $P --seconds 380 --gpu-memory 16GiB --only cpu --loads 1x128,8x128,1x2048
    $P --seconds 300 --gpu-memory 16GiB --loads 1x128,8x128 \
        --only 12-20@cpu-cuda:0,24-8@cuda:0-cpu; \
        $P --seconds 220 --gpu-memory 32GiB --kv-tokens 147456 --loads 64x2048 --only prefetch,auto
    $P --seconds 520 --model benchmarks/llama_1b --gpu-memory 3GiB
    $P --seconds 520 --model benchmarks/qwen3_30b_a3b --gpu-memory 40GiB --only uva,pipeline,auto

Without a GPU only ``cpu`` and splits such as ``4-4@cpu-cpu`` can run.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import planner_table
from closed_loop import Target, measure
from planner_grid import Case, Choice, Engine, cases, engine_key, engines, load_key, parse_loads

from hetctl.bench.environment import describe_environment
from hetctl.cli.plan_options import PlanInputs, inputs_from_options
from hetctl.document import write_atomically
from hetctl.errors import HetctlError
from hetctl.launch.command import LaunchCommand, launch_command
from hetctl.launch.port import free_port
from hetctl.launch.preflight import prepare_runtime
from hetctl.launch.server import Server
from hetctl.model.tiny import write_tiny
from hetctl.plan import Plan

HERE = Path(__file__).parent
STRATEGIES = "gpu,uva,prefetch,pipeline,cpu,auto"
LOADS = "1x128,8x128,64x128,1x2048,8x2048"
SERVER_ARGS = ("--no-enable-prefix-caching", "--load-format", "tiled")
# A guess until the first engine has started, and what a start may last at most.
START_S, LONGEST_START_S = 75.0, 240.0
STOP_S = 10.0
QUICK_REQUEST_S = 10.0


def main() -> None:
    args = arguments()
    runs = json.loads(args.runs.read_text()) if args.runs.exists() else {"schema": 1, "grids": []}
    if args.table:
        print(planner_table.markdown(runs))
        return
    # A time limit's SIGTERM ends the server that is running, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: interrupted())
    # The same folder each time: vLLM compiles anew for a model of another name.
    folder = Path(tempfile.gettempdir()) / "planner-accuracy"
    try:
        Grid(args, runs, folder).run()
    except HetctlError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; what was measured is kept")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("runs", type=Path, help="the JSON file of what was measured")
    add("--model", type=Path, default=HERE / "llama_8b", help="folder with a config.json")
    add("--gpu-memory", help="pretend that the GPU has only this much, such as 12GiB")
    add("--kv-tokens", type=int, default=18432, help="tokens that each plan has room for")
    add("--loads", default=LOADS, help="CONCURRENCYxPROMPT,...")
    add("--output-len", type=int, default=128)
    add("--only", default=STRATEGIES, help="strategies, or splits such as 20-12@cuda:0-cpu")
    add("--rounds", type=int, default=1)
    add("--machine", help="rates of a machine by name or file instead of this one's")
    add("--corrections", action="store_true", help="predict with what past runs showed, too")
    add("--seconds", type=float, default=3600, help="time for this piece")
    add("--longest-load", type=float, default=100, help="leave out loads that take longer")
    add("--retry", action="store_true", help="start engines again that failed")
    add("--list", action="store_true", help="show what would run")
    add("--table", action="store_true", help="print Markdown and measure nothing")
    return parser.parse_args()


def interrupted() -> NoReturn:
    raise KeyboardInterrupt


class Grid:
    """One grid: a model, a memory limit and a number of KV-cache tokens; its runs so far."""

    def __init__(self, args: argparse.Namespace, runs: dict[str, Any], folder: Path) -> None:
        self.args = args
        self.runs = runs
        self.folder = folder
        self.deadline = time.monotonic() + args.seconds
        self.start_s = START_S
        loads = list(parse_loads(args.loads, args.output_len, args.kv_tokens))
        inputs = inputs_from_options(
            str(model_folder(args.model, folder, args.kv_tokens)),
            gpu_memory=args.gpu_memory,
            machine=args.machine,
            corrections=args.corrections,
        )
        choices = [Choice(name) for name in args.only.split(",")]
        self.cases = cases(inputs, choices, loads)
        self.engines = engines(self.cases)
        self.grid = self.grid_of(inputs)
        for case in self.cases:
            self.note_case(case)

    def grid_of(self, inputs: PlanInputs) -> dict[str, Any]:
        """This grid's entry in the runs, made where there is none."""
        key = {
            "model": self.args.model.name,
            "gpu_memory": self.args.gpu_memory,
            "kv_tokens": self.args.kv_tokens,
            "output_len": self.args.output_len,
            "machine": inputs.machine.fingerprint,
        }
        for grid in self.runs["grids"]:
            if grid["key"] == key:
                return grid
        machine = inputs.machine.model_copy(update={"hostname": ""})
        environment = describe_environment(machine, HERE)
        grid = {"key": key, "environment": environment.model_dump(mode="json")}
        grid |= {"cases": [], "engines": [], "points": []}
        self.runs["grids"].append(grid)
        return grid

    def note_case(self, case: Case) -> None:
        """What is predicted, or why it cannot run; the newest prediction stands."""
        entry = {
            "choice": case.choice.name,
            "load": load_key(case.load),
            "engine": engine_key(case.plan) if case.plan else None,
            "why_not": case.why_not.replace(f"{self.folder}/", ""),
            "prediction": case.plan.prediction.model_dump() if case.plan else None,
        }
        replace_entry(self.grid["cases"], entry, ("choice", "load"))

    def run(self) -> None:
        for case in self.cases:
            if case.plan is None:
                say(f"{case.choice.name} at {load_key(case.load)}: {case.why_not}")
        for round_ in range(1, self.args.rounds + 1):
            for engine in self.engines:
                todo = self.to_do(engine, round_)
                if self.args.list:
                    self.list_engine(engine, todo)
                elif todo and self.is_time_for(engine, todo):
                    self.run_engine(engine, todo, round_)
        if not self.args.list:
            self.save()

    def to_do(self, engine: Engine, round_: int) -> list[Case]:
        """One case for each load that this engine has yet to run, the shortest first."""
        failed = any(e["key"] == engine.key and e["error"] for e in self.grid["engines"])
        if failed and not self.args.retry:
            return []
        done = {
            (point["engine"], point["load"])
            for point in self.grid["points"]
            if point["round"] == round_ and not point["error"]
        }
        todo = {load_key(c.load): c for c in engine.cases}
        return sorted(
            (case for load, case in todo.items() if (engine.key, load) not in done),
            key=predicted_s,
        )

    def list_engine(self, engine: Engine, todo: list[Case]) -> None:
        names = ",".join(dict.fromkeys(case.choice.name for case in engine.cases))
        loads = ", ".join(f"{load_key(case.load)} ({predicted_s(case):.0f} s)" for case in todo)
        total = self.start_s + STOP_S + sum(map(predicted_s, todo))
        print(f"{engine.key} [{names}]: {loads or 'nothing left'}; {total:.0f} s with the start")

    def is_time_for(self, engine: Engine, todo: list[Case]) -> bool:
        left = self.deadline - time.monotonic()
        needed = self.start_s + predicted_s(todo[0]) + STOP_S
        if left < needed:
            say(f"{engine.key}: left for another time, {needed:.0f} s needed and {left:.0f} s left")
        return left >= needed

    def run_engine(self, engine: Engine, todo: list[Case], round_: int) -> None:
        entry: dict[str, Any] = {
            "key": engine.key,
            "round": round_,
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "ranks": [rank.model_dump() for rank in engine.plan.ranks],
            "gpu_free_before_bytes": gpu_free_bytes(engine.plan),
            "memory": None,
            "error": None,
        }
        replace_entry(self.grid["engines"], entry, ("key", "round"))
        log = logs_folder(self.folder) / f"{engine.key}-{round_}.log".replace(" ", "_")
        begun = time.monotonic()
        say(f"{engine.key}: starting")
        try:
            prepare_runtime(engine.plan)
            with Server(command_of(engine.plan), log) as server:
                import_load_generator()
                left = self.deadline - STOP_S - time.monotonic()
                server.wait_ready(min(LONGEST_START_S, left))
                entry["start_s"] = time.monotonic() - begun
                entry["memory"] = reported_memory(server.memory_report)
                self.start_s = max(30.0, entry["start_s"])
                for case in todo:
                    self.run_load(engine, case, round_, server)
        except (HetctlError, OSError) as error:
            entry["error"] = str(error)
            say(f"{engine.key}: {error}")
        self.save()

    def run_load(self, engine: Engine, case: Case, round_: int, server: Server) -> None:
        expected = predicted_s(case)
        left = self.deadline - time.monotonic() - STOP_S
        what = f"{engine.key} at {load_key(case.load)}"
        if expected > self.args.longest_load:
            say(f"{what}: left out, it would take {expected:.0f} s (--longest-load)")
            return
        if expected > left:
            say(f"{what}: left for another time, {expected:.0f} s needed and {left:.0f} s left")
            return
        server.require_alive()
        point: dict[str, Any] = {"engine": engine.key, "load": load_key(case.load)}
        point |= {"round": round_, "measured": None, "error": None}
        limit_s = min(left, 3 * expected + 30)
        try:
            target = Target(server.base_url, server.command.model_name)
            steady = measure(target, case.load, repeats(case), limit_s)
            point["measured"] = asdict(steady)
            seen = f"{steady.output_tokens_per_s:.1f} tok/s"
        except TimeoutError:
            point["error"] = seen = f"not done after {limit_s:.0f} s"
        except RuntimeError as error:
            point["error"] = seen = str(error)
        assert case.plan is not None
        say(f"{what}: {seen}, predicted {case.plan.prediction.output_tokens_per_s:.1f}")
        replace_entry(self.grid["points"], point, ("engine", "load", "round"))
        self.save()

    def save(self) -> None:
        content = json.dumps(self.runs, indent=1) + "\n"
        write_atomically(self.args.runs, content)
        if out := os.environ.get("OUT"):
            write_atomically(Path(out) / self.args.runs.name, content)


def replace_entry(entries: list[dict[str, Any]], new: dict[str, Any], key: tuple[str, ...]) -> None:
    """Put ``new`` in the place of the entry that has the same ``key``."""
    entries[:] = [old for old in entries if any(old[name] != new[name] for name in key)]
    entries.append(new)


def request_s(case: Case) -> float:
    """How long a request is predicted to take."""
    assert case.plan is not None
    return case.load.concurrency * case.load.output_len / case.plan.prediction.output_tokens_per_s


def repeats(case: Case) -> int:
    """Measured requests of each client: a client that is alone sends some, if that is quick."""
    return 3 if case.load.concurrency == 1 and request_s(case) < QUICK_REQUEST_S else 1


def predicted_s(case: Case) -> float:
    """How long a load takes: the requests that set the pace, and those measured."""
    pace = 1.5 if case.load.concurrency > 1 else 0.2
    return (pace + repeats(case)) * request_s(case)


def model_folder(shape: Path, folder: Path, context: int) -> Path:
    """A folder that vLLM serves: the shape's configuration with a context of at least
    ``context`` tokens, and the demo model's tokenizer."""
    tiny, model = folder / "tiny", folder / shape.name
    write_tiny(tiny)
    model.mkdir(parents=True, exist_ok=True)
    for file in tiny.glob("*token*"):
        shutil.copy(file, model)
    config = json.loads((shape / "config.json").read_text())
    config["max_position_embeddings"] = max(config["max_position_embeddings"], context)
    (model / "config.json").write_text(json.dumps(config))
    return model


def command_of(plan: Plan) -> LaunchCommand:
    """As ``hetctl serve`` starts the plan, with random weights."""
    command = launch_command(plan, host="127.0.0.1", port=free_port(), extra_args=SERVER_ARGS)
    paths = [str(HERE / "tiled_weights"), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": ":".join(filter(None, paths)), "HF_HUB_OFFLINE": "1"}
    return command.model_copy(update={"env": {**command.env, **own}})


def gpu_free_bytes(plan: Plan) -> dict[str, int]:
    """What is free on each of the plan's GPUs, by device."""
    gpus = [device for device in plan.devices if device != "cpu"]
    if not gpus:
        return {}
    import pynvml

    def free(gpu: str) -> int:
        handle = pynvml.nvmlDeviceGetHandleByIndex(int(gpu.removeprefix("cuda:")))
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)

    pynvml.nvmlInit()
    try:
        return {gpu: free(gpu) for gpu in gpus}
    finally:
        pynvml.nvmlShutdown()


def reported_memory(report: Path) -> list[dict[str, Any]] | None:
    """What each rank holds; None where the engine could not tell (its log says why)."""
    return json.loads(report.read_text())["ranks"] if report.exists() else None


def import_load_generator() -> None:
    """While the server starts: importing vLLM takes as long as some loads do."""
    import vllm.benchmarks.lib.endpoint_request_func  # noqa: F401


def logs_folder(folder: Path) -> Path:
    """Where the servers' logs go: to ``$OUT``, if they are to be kept."""
    logs = Path(os.environ.get("OUT", folder)) / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs


def say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

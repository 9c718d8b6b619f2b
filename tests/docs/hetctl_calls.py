"""A call of ``hetctl`` by the documentation: as it is, but for what takes minutes.

The command line is read whole before anything is left out, so that an option that does not exist
fails here as it fails for a user.
"""

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hetctl.bench.results import Results

SLOW_OPTIONS = {
    # What is left out, and where it is run for real.
    ("probe", "--calibrate"): "tests/calibrate, tests/gpu/test_calibrate.py",
    ("doctor", "--full"): "tests/doctor/test_engine.py",
}
MACHINE = "h100-2xspr"
"""What plans are for unless a page says it: an H100 and two sockets. Machines that tests run on
have no GPU, and pages speak of those that do."""
RUNS = (0.995, 1.004, 1.0, 0.998, 1.006)
"""Five runs of a benchmark that was not run: how their speeds differ."""


def call(arguments: list[str]) -> None:
    """Run ``hetctl`` with these arguments, or as much of it as is quick."""
    from hetctl.cli.app import main

    command = arguments[0] if arguments else ""
    _plan_for_the_machine_of_the_pages()
    # With --emit it prints a file and starts nothing.
    if command == "serve" and "--emit" not in arguments:
        _print_server(arguments)
        return
    kept = [one for one in arguments if (command, one) not in SLOW_OPTIONS]
    if kept != arguments or (command == "doctor" and "--quick" not in arguments):
        _read(arguments)
    if command == "doctor":
        # Ranks are started by tests/doctor/test_ranks.py.
        kept += [] if "--quick" in kept else ["--quick"]
        if _was_called(kept):
            return
    if command == "bench":
        _measure_nothing()
        if not {"--out", "--resume"} & set(arguments):
            # By its own choice, the folder would be the same for all calls within a second.
            kept.insert(1, f"--out=hetctl-bench-{time.monotonic_ns()}")
    if command == "top":
        _show_a_server(arguments)
        return
    if "--from" in kept and command == "kernels":
        _read(arguments)
        return
    sys.argv = ["hetctl", *kept]
    try:
        main()
    except SystemExit as end:
        # What doctor finds here is not the page's fault.
        if command != "doctor" or end.code != 1:
            raise


def _was_called(arguments: list[str]) -> bool:
    """Whether a call was there before: one look at a machine will do, where it takes seconds."""
    mark = Path(os.environ["DOCS_RECORD"]).with_name(shlex.join(arguments).replace("/", "-"))
    known = mark.exists()
    mark.touch()
    return known


def _read(arguments: list[str]) -> None:
    """Read the whole command line, as click does before it runs a command."""
    import typer

    from hetctl.cli.app import app

    command: Any = typer.main.get_command(app)
    context: Any = None
    name, rest = "hetctl", list(arguments)
    while hasattr(command, "commands"):
        context = command.make_context(name, rest[:1], parent=context, resilient_parsing=True)
        name, rest = rest[0], rest[1:]
        command = command.commands[name]
    try:
        command.make_context(name, rest, parent=context)
    except Exception as error:
        sys.exit(f"hetctl {shlex.join(arguments)}: {error}")


def _plan_for_the_machine_of_the_pages() -> None:
    from hetctl.cli import plan_options

    load = plan_options.load_machine
    plan_options.load_machine = lambda choice: load(choice or MACHINE)


def _print_server(arguments: list[str]) -> None:
    """Plan and print the server instead of starting it, and keep what vLLM would be told."""
    from contextlib import redirect_stdout
    from io import StringIO

    from hetctl.cli.app import main

    at = arguments.index("--") if "--" in arguments else len(arguments)
    sys.argv = ["hetctl", *arguments[:at], "--dry-run", *arguments[at:]]
    said = StringIO()
    try:
        with redirect_stdout(said):
            main()
    finally:
        sys.stdout.write(said.getvalue())
        for line in said.getvalue().splitlines():
            if " serve " in line:
                words = shlex.split(line)
                keep_vllm_command(words[words.index("serve") :])


def _show_a_server(arguments: list[str]) -> None:
    """Look at a server of metrics alone, wherever a page says that one is."""
    from hetctl.cli.app import main
    from tests.cli.metrics_server import MetricsServer
    from tests.top.pages import two_ranks

    _read(arguments)
    words = [word for word in arguments if "://" not in word]
    if "--interval" in words:
        words[words.index("--interval") + 1] = "0.1"
    with MetricsServer(two_ranks) as server:
        sys.argv = ["hetctl", *words, server.url]
        main()


def keep_vllm_command(words: list[str]) -> None:
    """Note what ``vllm`` is given, for a test to have it read by vLLM."""
    with Path(os.environ["DOCS_RECORD"]).open("a", encoding="utf-8") as record:
        record.write(json.dumps(words) + "\n")


def _measure_nothing() -> None:
    """Let ``hetctl bench`` do everything but start servers and load them.

    Arguments are read, loads and baselines planned, what is there already is gone on with; the
    figures are made up, and saved as a benchmark saves them.
    """
    from hetctl.bench.compare import RESULTS_FILE
    from hetctl.cli import bench

    def measure(asked: "Results", folder: Path, limits: object) -> "Results":
        results = asked if asked.runs else _with_runs(asked)
        results.save(folder / RESULTS_FILE)
        return results

    bench.measure = measure
    bench._keep_runs = lambda *_: None
    bench.finish = lambda results, folder: None


def _with_runs(asked: "Results") -> "Results":
    from datetime import timedelta

    from tests.bench import sample

    runs = tuple(
        sample.run(
            *(configuration.name, repeat, sample.measurement(100 / slow, 0.5 * slow), load.point)
        ).model_copy(update={"started": asked.environment.started + timedelta(minutes=repeat)})
        for repeat, slow in enumerate(RUNS, 1)
        for configuration in asked.configurations
        for load in asked.loads
    )
    return asked.model_copy(update={"runs": runs, "repeats": len(RUNS)})

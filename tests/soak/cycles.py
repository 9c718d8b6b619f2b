"""Starts and ends a server of two CPU ranks, over and over, and looks for what stays.

    python -m tests.soak.cycles FOLDER --cycles 200 [--lock FILE]
    python -m tests.soak.cycles FOLDER --report
    python -m tests.soak.cycles FOLDER --cycles 200 --stand-in

Half of the cycles end by SIGTERM, the others by SIGKILL of a rank, the engine or hetctl; four of
ten while the server starts. After each one, this looks for processes, shared memory and temporary
files, and notes this process's own memory and descriptors: it is the parent of most servers,
through ``hetctl.launch.server``. It goes on where an earlier run of the same folder stopped;
trends are of single runs, as each is a new parent. With --stand-in a small HTTP server stands in
for vLLM, so that the parent's own memory shows in minutes; it has no ranks and no shared memory,
and whatever is to be killed is that server. FOLDER needs a short path, such as /tmp/soak.
"""

import argparse
import fcntl
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import psutil

from hetctl.cli.end_signals import EndRequested
from hetctl.cli.plan_options import inputs_from_options
from hetctl.errors import LaunchError
from hetctl.launch.command import launch_command
from hetctl.launch.middleware import middleware_arguments
from hetctl.launch.output import RankLogs
from hetctl.launch.port import free_port
from hetctl.launch.server import Server
from tests.e2e.demo import write_demo_model
from tests.soak.leftovers import Leftovers
from tests.soak.trend import Trend, trend

START_TIMEOUT_S = 300
GONE_WITHIN_S = 60
PIECE = 10
"""Cycles for which the lock is held at once."""
WARM_UP = 5
"""Cycles of a run that its trends leave out: what is imported on first use comes in then."""
ENDS = (
    "SIGTERM",
    "SIGTERM while it starts",
    "SIGKILL of a rank",
    "SIGTERM of hetctl serve",
    "SIGKILL of the engine while it starts",
    "SIGTERM",
    "SIGKILL of hetctl serve",
    "SIGTERM while it starts",
    "SIGKILL of the engine",
    "SIGKILL of a rank while it starts",
)


STAND_IN = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
for line in range(400):
    print(f"(EngineCore pid=7) INFO 11-30 18:00:00 [core.py:{line}] " + "x" * 80, flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""


@dataclass
class Cycle:
    """What one start and end left."""

    number: int
    run: int
    """The process id of the parent: trends are within one."""
    end: str
    ended_at: str = "ready"
    """What the server was doing."""
    ready_s: float | None = None
    gone_s: float = 0.0
    """From the signal to the last process, segment and file."""
    said: str = ""
    left: list[str] = field(default_factory=list)
    rss_bytes: int = 0
    descriptors: int = 0
    threads: int = 0
    state_files: int = 0


class Soak:
    """The demo model's server in a folder, and the journal of what was done with it."""

    def __init__(self, folder: Path, stand_in: bool = False) -> None:
        self._stand_in = stand_in
        self._journal = folder / "cycles.jsonl"
        self._leftovers = Leftovers(folder)
        os.environ.update(self._leftovers.environment)
        self._model = folder / "tiny"
        if not self._model.is_dir():
            write_demo_model(self._model)
        plan = inputs_from_options(
            str(self._model), split="2,6", max_model_len=256, concurrency=2, input_len=32
        ).plan()
        self._plan = folder / "plan.json"
        plan.save(self._plan)
        self._port = free_port()
        self._log = folder / "state" / "serve.log"
        self._command = launch_command(
            plan, host="127.0.0.1", port=self._port, extra_args=middleware_arguments()
        )
        self._output = RankLogs(self._log, pipeline_parallel_size=2)
        if stand_in:
            argv = (sys.executable, "-c", STAND_IN, str(self._port))
            self._command = self._command.model_copy(update={"argv": argv})
        self._self = psutil.Process()
        # The journal grows: to read it in each cycle would make this process grow, too.
        self._starts_s = deque((c.ready_s for c in self.done() if c.ready_s), maxlen=5)

    def done(self) -> list[Cycle]:
        if not self._journal.exists():
            return []
        lines = self._journal.read_text(encoding="utf-8").splitlines()
        return [Cycle(**json.loads(line)) for line in lines]

    def _start_s(self) -> float:
        """How long a start takes these days; other work on the machine slows it down."""
        return median(self._starts_s) if self._starts_s else 30.0

    def cycle(self, number: int) -> Cycle:
        """Start, end, look, and write it down."""
        end = ENDS[number % len(ENDS)]
        chance = random.Random(number)
        self._leftovers.begin()
        made = Cycle(number, os.getpid(), end)
        through_hetctl = "hetctl" in end and not self._stand_in
        (self._through_hetctl if through_hetctl else self._as_parent)(made, chance)
        made.left, gone_s = self._leftovers.after(GONE_WITHIN_S)
        made.gone_s += gone_s
        if made.ready_s:
            self._starts_s.append(made.ready_s)
        gc.collect()
        made.rss_bytes = self._self.memory_info().rss
        made.descriptors = self._self.num_fds()
        made.threads = self._self.num_threads()
        made.state_files = self._leftovers.state_files()
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(made)) + "\n")
        return made

    def _as_parent(self, made: Cycle, chance: random.Random) -> None:
        end_at = chance.uniform(0.02, 0.98) * self._start_s() if "starts" in made.end else None
        began = time.monotonic()
        with Server(self._command, self._log, output=self._output) as server:
            self._leftovers.processes()
            try:
                server.wait_ready(START_TIMEOUT_S, _until(end_at, made))
                made.ready_s = time.monotonic() - began
            except EndRequested:
                pass
            began = time.monotonic()
            if "SIGKILL" in made.end:
                made.said = self._kill_and_watch(server, made, chance)
        made.gone_s = time.monotonic() - began

    def _kill_and_watch(self, server: Server, made: Cycle, chance: random.Random) -> str:
        which = "rank" if "rank" in made.end else "engine"
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (victims := self._victims(which)) and server.poll() is None:
            if time.monotonic() > deadline:
                return f"(no {which} to kill)"
            time.sleep(0.1)
        for victim in victims and [chance.choice(victims)]:
            with suppress(psutil.Error):
                victim.kill()
        try:
            if made.ready_s is None:
                server.wait_ready(START_TIMEOUT_S)
            deadline = time.monotonic() + GONE_WITHIN_S
            while time.monotonic() < deadline:
                server.require_alive()
                time.sleep(0.1)
        except LaunchError as error:
            return str(error)
        return f"(alive {GONE_WITHIN_S} s after the kill)"

    def _victims(self, which: str) -> list[psutil.Process]:
        """Ranks by their parent: one that starts has no title yet."""
        if self._stand_in:
            return self._leftovers.processes()
        engines, ranks = [], []
        for process in self._leftovers.processes():
            with suppress(psutil.Error):
                title = " ".join(process.cmdline())
                parent = process.parent()
                above = " ".join(parent.cmdline()) if parent else ""
                if "EngineCore" in title:
                    engines.append(process)
                elif "EngineCore" in above and ("Worker" in title or "spawn_main" in title):
                    ranks.append(process)
        return ranks if which == "rank" else engines

    def _through_hetctl(self, made: Cycle, chance: random.Random) -> None:
        command = [sys.executable, "-m", "hetctl", "serve", "--plan", str(self._plan)]
        options = ["--port", str(self._port), "--log", str(self._log)]
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        with process:
            line = process.stdout.readline()
            if not line.startswith("Ready: "):
                made.said = f"hetctl serve did not start: {line!r}"
                return
            made.ready_s = time.monotonic() - began
            self._leftovers.processes()
            began = time.monotonic()
            number = signal.SIGKILL if "SIGKILL" in made.end else signal.SIGTERM
            process.send_signal(number)
            made.said = f"exit code {process.wait(GONE_WITHIN_S)}"
        made.gone_s = time.monotonic() - began
        if number == signal.SIGKILL:
            # The run folder stays until the next server starts: that one looks for it.
            made.gone_s += self._leftovers.after_processes(GONE_WITHIN_S)
            self._leftovers.remove_abandoned()


def _until(end_at_s: float | None, made: Cycle) -> Callable[[str], None]:
    began = time.monotonic()

    def look(phase: str) -> None:
        if end_at_s is not None and time.monotonic() - began >= end_at_s:
            made.ended_at = phase
            raise EndRequested

    return look


@contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """The lock that keeps others' engines off the machine, if there is one."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def report(cycles: list[Cycle]) -> str:
    """What the journal says, in Markdown."""
    lines = [
        "| ended by | cycles | left behind | slowest to go, s |",
        "| --- | ---: | ---: | ---: |",
    ]
    for end in dict.fromkeys(ENDS):
        of_end = [cycle for cycle in cycles if cycle.end == end]
        left = sum(bool(cycle.left) for cycle in of_end)
        slowest = max((cycle.gone_s for cycle in of_end), default=0.0)
        lines.append(f"| {end} | {len(of_end)} | {left} | {slowest:.1f} |")
    lines.append(
        f"\n{len(cycles)} cycles, {sum(bool(c.left) for c in cycles)} of them left something."
    )
    for run in dict.fromkeys(cycle.run for cycle in cycles):
        of_run = [cycle for cycle in cycles if cycle.run == run][WARM_UP:]
        if len(of_run) > 2:
            descriptors = trend(_numbers(of_run), [float(cycle.descriptors) for cycle in of_run])
            later = of_run[len(of_run) // 2 :]
            second = f" (second half {_rss(later)})" if len(later) > 2 else ""
            lines.append(
                f"Parent {run}: RSS {_rss(of_run)} KiB per cycle{second}; "
                f"descriptors {descriptors}."
            )
    return "\n".join(lines)


def _numbers(cycles: list[Cycle]) -> list[float]:
    return [float(cycle.number) for cycle in cycles]


def _rss(cycles: list[Cycle]) -> Trend:
    return trend(_numbers(cycles), [cycle.rss_bytes / 1024 for cycle in cycles])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--lock", type=Path, help="locked for ten cycles at a time")
    parser.add_argument("--stand-in", action="store_true", help="without vLLM")
    parser.add_argument("--report", action="store_true", help="only say what was done so far")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    soak = Soak(arguments.folder, arguments.stand_in)
    numbers = range(len(soak.done()), 0 if arguments.report else arguments.cycles)
    for first in numbers[::PIECE]:
        with held(arguments.lock):
            for number in range(first, min(first + PIECE, arguments.cycles)):
                made = soak.cycle(number)
                print(json.dumps(asdict(made)), flush=True)
        # Whoever waits for the lock is to get it.
        time.sleep(1)
    print(report(soak.done()))


if __name__ == "__main__":
    main()

"""Runs every configuration under the same load, in turn, on servers of its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hetctl.bench.events import Advanced, Failed, Measured, OnEvent
from hetctl.bench.load import LoadTarget, run_load
from hetctl.bench.load_progress import LoadProgress
from hetctl.bench.results import Configuration, FailedRun, Load, Measurement, Results, Run
from hetctl.bench.server import ServerFactory
from hetctl.errors import HetctlError, LaunchError

RESULTS_FILE = "results.json"

RunLoad = Callable[[Load, LoadTarget, Callable[[LoadProgress], None], float], Measurement]


@dataclass(frozen=True)
class TimeLimits:
    """How long one run may take, in seconds."""

    ready_s: float = 1800.0
    """Start of a server, with loading the weights and compiling."""
    load_s: float = 7200.0
    """Warm-up and load together."""


def compare(
    blank: Results,
    out_dir: Path,
    server_factory: ServerFactory,
    on_event: OnEvent,
    limits: TimeLimits,
    run_load: RunLoad = run_load,
) -> Results:
    """Measure ``blank.configurations``, ``blank.repeats`` times each.

    What ``blank`` holds of these runs already is kept, and not measured again. The order is
    A B A B, not A A B B: a machine that grows warm or busy then disturbs all configurations
    alike. Each run gets a fresh server, so that no cache outlives it.
    ``results.json`` in ``out_dir`` is brought up to date after every run. Ctrl-C ends the
    comparison and keeps what was measured (``interrupted`` is set). A configuration that
    fails is not tried again; the others still run.

    Raises:
        HetctlError: every configuration failed.
    """
    comparison = _Comparison(blank, out_dir, server_factory, on_event, limits, run_load)
    try:
        comparison.run_all()
    except KeyboardInterrupt:
        comparison.update(interrupted=True)
    results = comparison.results
    if not results.runs and not results.interrupted:
        first = results.failed[0]
        raise HetctlError(
            f"No configuration could be measured; {first.configuration} failed first: "
            f"{first.reason.rstrip('.')} (log: {out_dir / first.log})."
        )
    return results


class _Comparison:
    """The results so far, and what is needed to add to them."""

    def __init__(
        self,
        blank: Results,
        out_dir: Path,
        server_factory: ServerFactory,
        on_event: OnEvent,
        limits: TimeLimits,
        run_load: RunLoad,
    ) -> None:
        self.results = blank
        self._out_dir = out_dir
        self._server_factory = server_factory
        self._on_event = on_event
        self._limits = limits
        self._run_load = run_load
        self._began = time.monotonic() - blank.duration_s

    def run_all(self) -> None:
        self.update()
        for repeat, configuration in self.results.to_come:
            if not self._gave_up(configuration.name):
                self._run(configuration, repeat)

    def update(self, **changes: object) -> None:
        """Change the results and save them."""
        changes["duration_s"] = time.monotonic() - self._began
        self.results = self.results.model_copy(update=changes)
        self.results.save(self._out_dir / RESULTS_FILE)

    def _gave_up(self, name: str) -> bool:
        return any(failure.configuration == name for failure in self.results.failed)

    def _run(self, configuration: Configuration, repeat: int) -> None:
        stem = f"{configuration.name}-{repeat}"
        server_log, load_log = f"logs/{stem}-server.log", f"logs/{stem}-load.log"
        try:
            self._measure(configuration, repeat, server_log, load_log, f"raw/{stem}.json")
        except HetctlError as error:
            of_server = isinstance(error, LaunchError)
            failure = FailedRun(
                configuration=configuration.name,
                repeat=repeat,
                phase="server" if of_server else "load",
                reason=str(error),
                log=server_log if of_server else load_log,
            )
            self.update(failed=(*self.results.failed, failure))
            self._on_event(Failed(failure))

    def _measure(
        self, configuration: Configuration, repeat: int, server_log: str, load_log: str, raw: str
    ) -> None:
        name, command = configuration.name, configuration.command
        (self._out_dir / server_log).parent.mkdir(parents=True, exist_ok=True)
        server = self._server_factory(command, self._out_dir / server_log)
        started = datetime.now(UTC)
        clock = time.monotonic()
        try:
            self._on_event(Advanced(name, repeat, "server"))
            server.start()
            server.wait_ready(
                self._limits.ready_s,
                lambda detail: self._on_event(Advanced(name, repeat, "server", detail=detail)),
            )
            server_start_s = time.monotonic() - clock
            target = LoadTarget(
                base_url=server.base_url,
                served_name=command.model_name,
                tokenizer=self.results.model,
                result_file=self._out_dir / raw,
                log_file=self._out_dir / load_log,
            )
            measurement = self._run_load(
                self.results.offered_load,
                target,
                lambda at: self._on_event(Advanced(name, repeat, at.phase, at.done, at.total)),
                self._limits.load_s,
            )
            # Before the server is stopped: a stop that fails must not lose the figures.
            run = Run(
                configuration=name,
                repeat=repeat,
                started=started,
                server_start_s=server_start_s,
                measurement=measurement,
                server_log=server_log,
                load_log=load_log,
                raw_result=raw,
            )
            self.update(runs=(*self.results.runs, run))
            self._on_event(Measured(run))
        finally:
            self._on_event(Advanced(name, repeat, "stop"))
            server.stop()

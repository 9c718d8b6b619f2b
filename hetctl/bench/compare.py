"""Runs every configuration under the same loads, in turn, on servers of its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from hetctl.bench.events import Advanced, Failed, Measured, OnEvent
from hetctl.bench.load import LoadTarget, run_load
from hetctl.bench.load_progress import LoadProgress
from hetctl.bench.requests import requests_file
from hetctl.bench.results import (
    Configuration,
    FailedPhase,
    FailedRun,
    Load,
    Measurement,
    Results,
    Run,
)
from hetctl.bench.schedule import to_come
from hetctl.bench.server import Server, ServerFactory
from hetctl.bench.telemetry.digest import TelemetryDigest
from hetctl.bench.telemetry.digesting import digest
from hetctl.bench.telemetry.record import read_record
from hetctl.bench.telemetry.run_sampler import run_sampler
from hetctl.errors import HetctlError, LaunchError
from hetctl.launch.spare_cpus import spare_cpus

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
    """Measure ``blank.configurations`` under ``blank.loads``, ``blank.repeats`` times each.

    What ``blank`` holds of these runs already is kept, and not measured again. The order is
    that of :mod:`hetctl.bench.schedule`. Each repeat of a configuration gets a fresh server,
    which all its points share. ``results.json`` in ``out_dir`` is brought up to date after
    every run. Ctrl-C ends the comparison and keeps what was measured (``interrupted`` is set).
    A server that dies under a load costs that point; the others get a new server.

    Raises:
        HetctlError: nothing could be measured.
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


@dataclass(frozen=True)
class _Session:
    """One start of a configuration's server."""

    configuration: Configuration
    repeat: int
    server: Server
    server_start_s: float
    server_log: str | None

    @property
    def client_cpus(self) -> frozenset[int]:
        """What its ranks leave to the load generator; empty for the kernel's choice."""
        command = self.configuration.command
        return frozenset() if command is None else spare_cpus(command)


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
        while coming := to_come(self.results):
            self._serve(coming[0].configuration, coming[0].repeat)

    def update(self, **changes: object) -> None:
        """Change the results and save them."""
        changes["duration_s"] = time.monotonic() - self._began
        self.results = self.results.model_copy(update=changes)
        self.results.save(self._out_dir / RESULTS_FILE)

    def _next(self, configuration: Configuration, repeat: int) -> Load | None:
        """The next load of this configuration and repeat, which come first until all are done."""
        for coming in to_come(self.results)[:1]:
            if (coming.configuration.name, coming.repeat) == (configuration.name, repeat):
                return coming.load
        return None

    def _serve(self, configuration: Configuration, repeat: int) -> None:
        """Start the server and run all that is to come of this configuration and repeat."""
        log = self._unused(f"logs/{configuration.name}-{repeat}-server", ".log")
        try:
            self._serve_until_it_dies(configuration, repeat, log)
        except LaunchError as error:
            self._failed(configuration.name, repeat, None, "server", str(error), log)

    def _serve_until_it_dies(self, configuration: Configuration, repeat: int, log: str) -> None:
        name = configuration.name
        server = self._server_factory(configuration, self._out_dir / log)
        clock = time.monotonic()
        try:
            self._on_event(Advanced(name, repeat, "server"))
            server.start()
            server.wait_ready(
                self._limits.ready_s,
                lambda detail: self._on_event(Advanced(name, repeat, "server", detail=detail)),
            )
            started = configuration.command is not None
            session = _Session(
                configuration,
                repeat,
                server,
                time.monotonic() - clock if started else 0.0,
                log if started else None,
            )
            while (load := self._next(configuration, repeat)) and self._run(session, load):
                pass
        finally:
            self._on_event(Advanced(name, repeat, "stop"))
            server.stop()

    def _run(self, session: _Session, load: Load) -> bool:
        """Run one load and record what came of it; whether the server lives on."""
        name, repeat = session.configuration.name, session.repeat
        stem = f"{name}-{load.point}-{repeat}"
        load_log, raw = f"logs/{stem}-load.log", f"raw/{stem}.json"
        telemetry = f"telemetry/{stem}.csv"
        started = datetime.now(UTC)
        try:
            target = self._target(session, load, load_log, raw)
            measurement, use = self._sampled_load(session, load, target, telemetry)
            session.server.require_alive()
        except HetctlError as error:
            return self._died_or_failed(session, load, error, load_log, raw, telemetry)
        # Before the server is stopped: a stop that fails must not lose the figures.
        run = Run(
            configuration=name,
            repeat=repeat,
            point=load.point,
            started=started,
            server_start_s=session.server_start_s,
            measurement=measurement,
            server_log=session.server_log,
            load_log=load_log,
            raw_result=raw,
            telemetry=telemetry,
            telemetry_digest=use,
            client_cpus=tuple(sorted(target.cpus)),
        )
        self.update(runs=(*self.results.runs, run))
        self._on_event(Measured(run, to_come(self.results)))
        return True

    def _sampled_load(
        self, session: _Session, load: Load, target: LoadTarget, telemetry: str
    ) -> tuple[Measurement, TelemetryDigest | None]:
        """Send the load, with the machine sampled beside it."""
        name, repeat = session.configuration.name, session.repeat
        machine, path = self.results.environment.machine, self._out_dir / telemetry
        ours = session.configuration.command is not None
        server_pid = (lambda: session.server.pid) if ours else None
        with run_sampler(machine, server_pid, path) as sampler:

            def advance(at: LoadProgress) -> None:
                sampler.enter_phase(at.phase)
                self._on_event(
                    Advanced(name, repeat, at.phase, at.done, at.total, point=load.point)
                )

            sampler.enter_phase("prepare")
            measurement = self._run_load(load, target, advance, self._limits.load_s)
        use = digest(read_record(path), measurement.duration_s, sampler.notes)
        return measurement, use

    def _target(self, session: _Session, load: Load, load_log: str, raw: str) -> LoadTarget:
        return LoadTarget(
            base_url=session.server.base_url,
            served_name=session.configuration.model_name,
            tokenizer=self.results.model,
            result_file=self._out_dir / raw,
            log_file=self._out_dir / load_log,
            requests_file=requests_file(load, self.results.model, self._out_dir),
            cpus=session.client_cpus,
        )

    def _died_or_failed(
        self,
        session: _Session,
        load: Load,
        error: HetctlError,
        load_log: str,
        raw: str,
        telemetry: str,
    ) -> bool:
        """Record why a load gave no figures; whether the server lives on.

        When a server dies, the generator sees refused connections; the server tells why.
        """
        died: LaunchError | None = None
        try:
            session.server.require_alive()
        except LaunchError as death:
            died = death
        self._failed(
            session.configuration.name,
            session.repeat,
            load.point,
            "server" if died else "load",
            str(died or error),
            session.server_log or load_log if died else load_log,
            raw_result=raw if (self._out_dir / raw).exists() else None,
            telemetry=telemetry if (self._out_dir / telemetry).exists() else None,
        )
        return died is None

    def _failed(
        self,
        configuration: str,
        repeat: int,
        point: str | None,
        phase: FailedPhase,
        reason: str,
        log: str,
        raw_result: str | None = None,
        telemetry: str | None = None,
    ) -> None:
        failure = FailedRun(
            configuration=configuration,
            repeat=repeat,
            point=point,
            phase=phase,
            reason=reason,
            log=log,
            raw_result=raw_result,
            telemetry=telemetry,
        )
        self.update(failed=(*self.results.failed, failure))
        self._on_event(Failed(failure, to_come(self.results)))

    def _unused(self, stem: str, suffix: str) -> str:
        """A file name that no earlier server of this repeat has taken."""
        names = (f"{stem}{'' if at == 1 else f'-{at}'}{suffix}" for at in count(1))
        return next(name for name in names if not (self._out_dir / name).exists())

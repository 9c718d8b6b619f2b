"""Runs the measurements, and puts the profile together."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hetctl.bounds import Part, require_possible
from hetctl.calibrate.rank_process import MeasurementError, RankProcess
from hetctl.calibrate.ranks import MeasuredRank, Ranks, ranks_of
from hetctl.calibrate.statistics import Samples
from hetctl.calibrate.steps import Figures, Step, ToFigures, steps_of
from hetctl.document import first_problem
from hetctl.errors import HetctlError
from hetctl.launch.command import visible_devices
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.machine_profile import GpuProfile, MachineProfile, NodeProfile, NotMeasured
from hetctl.planner.device import thread_cores
from hetctl.profiles.tool_versions import tool_versions
from vllm_hetero.rank_environment import RankEnvironment

LIMIT_S = 165.0
"""Of the whole calibration; what is not measured by then is left out."""

# Torch and vLLM are imported meanwhile: from slow disks, and by all processes at once.
_START_TIMEOUT_S = 90.0

_AIM_S = 140.0
"""What the samples' time is divided for: imports and allocations come on top."""

_LEAST_BUDGET = 0.15
"""Share of a measurement's time below which its spread says nothing."""

_MOST_BUDGET = 2.0
"""More would bring no more samples, or of seconds each."""

Observer = Callable[[Step, int, int], None]
"""Called before each step, with its position and how many there are."""

Waiting = Callable[[], AbstractContextManager[None]]


class Calibration:
    """One calibration of this machine.

    Attributes:
        measured: What has been measured so far: ``cuda:0: memory read rate``.
        not_measured: What failed, and why.
    """

    def __init__(
        self,
        machine: Machine,
        folder: Path,
        observer: Observer = lambda step, position, of: None,
        waiting: Waiting = nullcontext,
        limit_s: float = LIMIT_S,
        without_cpu_kernels: str | None = None,
    ) -> None:
        """
        Args:
            machine: This machine, as probed.
            folder: For the logs of the measuring processes.
            observer: Told of each step.
            waiting: Entered where a signal may interrupt.
            limit_s: Longest time for all steps.
            without_cpu_kernels: Why the CPU kernels cannot be had, if they cannot.
        """
        self.measured: list[str] = []
        self.not_measured: list[NotMeasured] = []
        self._machine = machine
        self._observer = observer
        self._waiting = waiting
        self._began = time.monotonic()
        self._limit_s = limit_s
        self._ranks = ranks_of(machine)
        self._steps = steps_of(self._ranks)
        self._processes = _processes(self._ranks, machine, folder)
        self._figures: dict[str, Figures] = {}
        self._scale = 1.0
        self._without_cpu_kernels = without_cpu_kernels

    @property
    def steps(self) -> Sequence[Step]:
        """All measurements of this machine."""
        return self._steps

    def run(self) -> MachineProfile:
        """Measure everything. However it ends, no process stays behind.

        Raises:
            HetctlError: nothing could be measured.
        """
        if not self._ranks.all:
            raise HetctlError(
                "There is nothing to measure: this machine has no GPU and no core that may be used."
            )
        try:
            for rank in self._ranks.all:
                self._processes[rank].start()
            with self._waiting():
                self._wait_ready()
                for position, step in enumerate(self._steps):
                    self._observer(step, position, len(self._steps))
                    self._take(step)
        finally:
            for process in self._processes.values():
                process.stop()
        if not self._figures:
            reasons = "; ".join(
                sorted({f"{one.device}: {one.reason}" for one in self.not_measured})
            )
            raise HetctlError(f"Nothing could be measured, and nothing was saved: {reasons}.")
        return self._profile()

    def _wait_ready(self) -> None:
        """Wait for all processes, then divide the time that is left."""
        for rank in self._ranks.all:
            try:
                self._processes[rank].wait_ready(_START_TIMEOUT_S)
            except MeasurementError:
                continue  # Its first step tries again, and names the reason.
        passed_s = time.monotonic() - self._began
        wanted_s = sum(step.budget_s for step in self._steps)
        share = max(0.0, min(self._limit_s, _AIM_S) - passed_s) / wanted_s
        self._scale = max(_LEAST_BUDGET, min(_MOST_BUDGET, share))

    def _take(self, step: Step) -> None:
        """One step; a failure is noted."""
        try:
            if self._left_s() <= 0:
                raise MeasurementError(f"the {self._limit_s:.0f} s for all of it were used up")
            if step.kernels and self._without_cpu_kernels and step.rank in self._ranks.nodes:
                raise MeasurementError(self._without_cpu_kernels)
            samples = self._samples(step)
            self._note(step.device, {**self._made(step.figures, samples), **step.fixed})
            self.measured.append(f"{step.device.name}: {step.what}")
        except MeasurementError as error:
            reason = str(error).rstrip(".")
            self.not_measured.append(
                NotMeasured(device=step.device.name, what=step.what, reason=reason)
            )

    def _made(self, figures: ToFigures, samples: Samples) -> Figures:
        try:
            return figures(samples)
        except ValidationError as error:
            raise MeasurementError(first_problem(error)) from error
        except (ValueError, KeyError) as error:
            raise MeasurementError(f"the samples are unusable ({error})") from error

    def _note(self, rank: MeasuredRank, figures: Figures) -> None:
        part: Part = "node" if isinstance(rank.device, NumaNode) else "gpu"
        try:
            for name, value in figures.items():
                require_possible(part, name, value)
        except ValueError as error:
            raise MeasurementError(f"it gave a figure that cannot be: {error}") from error
        known = self._figures.setdefault(rank.name, {})
        for name, value in figures.items():
            known[name] = {**known.get(name, {}), **value} if isinstance(value, dict) else value

    def _left_s(self) -> float:
        return self._limit_s - (time.monotonic() - self._began)

    def _samples(self, step: Step) -> Samples:
        command = dict(step.command)
        if step.budget_s:
            command["budget_s"] = step.budget_s * self._scale
        doing = f"{step.what} on {step.rank.name}"
        timeout_s = min(self._left_s(), step.timeout_s + 3 * step.budget_s * self._scale)
        process = self._ready(step.rank)
        if step.peer is not None:
            return self._exchanged(step, process, self._ready(step.peer), timeout_s, doing)
        if step.reader is None:
            process.send(command)
            return _samples_in(process.receive(timeout_s, doing))
        return self._beside_reader(step, command, process, timeout_s, doing)

    def _exchanged(
        self, step: Step, leader: RankProcess, maker: RankProcess, timeout_s: float, doing: str
    ) -> Samples:
        """Both sides of a message: the maker says where the shared memory is."""
        try:
            maker.send(
                {**step.command, "paths": None, "peer_on_gpu": step.rank in self._ranks.gpus}
            )
            paths = maker.receive(timeout_s, f"{doing}, making the shared memory")["say"]
            leader.send({**step.command, "paths": paths, "peer_on_gpu": False})
            samples = _samples_in(leader.receive(timeout_s, doing))
            maker.receive(timeout_s, doing)
        except MeasurementError:
            # The other side may wait for one that does not come.
            leader.stop()
            maker.stop()
            raise
        return samples

    def _beside_reader(
        self,
        step: Step,
        command: dict[str, Any],
        process: RankProcess,
        timeout_s: float,
        doing: str,
    ) -> Samples:
        """A measurement while a CPU rank reads memory."""
        assert step.reader is not None
        reader = self._ready(step.reader)
        reader.send({"measure": "memory-until-told", "nbytes": step.reader.buffer_bytes})
        reader.receive(timeout_s, f"{doing}, filling the memory that is read")
        try:
            process.send(command)
            samples = _samples_in(process.receive(timeout_s, doing))
        except MeasurementError:
            reader.stop()
            raise
        reader.send({})
        own = _samples_in(reader.receive(timeout_s, f"{doing}, ending to read memory"))
        if step.reader_figures is not None:
            self._note(step.reader, self._made(step.reader_figures, own))
        return samples

    def _ready(self, rank: MeasuredRank) -> RankProcess:
        process = self._processes[rank]
        process.wait_ready(min(_START_TIMEOUT_S, max(1.0, self._left_s())))
        return process

    def _profile(self) -> MachineProfile:
        machine = self._machine
        nodes, gpus = [], []
        for rank in self._ranks.all:
            figures = self._figures.get(rank.name)
            if not figures:
                continue
            if isinstance(rank.device, NumaNode):
                threads = len(thread_cores(rank.device, machine, len(machine.gpus)))
                nodes.append(NodeProfile(numa_node=rank.device.id, threads=threads, **figures))
            elif isinstance(rank.device, Gpu):
                gpus.append(GpuProfile(index=rank.device.index, **figures))
        return MachineProfile(
            machine_fingerprint=machine.fingerprint,
            measured_at=datetime.now(UTC).replace(microsecond=0),
            tool_versions=tool_versions(machine),
            numa_nodes=tuple(nodes),
            gpus=tuple(gpus),
            not_measured=tuple(self.not_measured),
        )


def _processes(ranks: Ranks, machine: Machine, folder: Path) -> dict[MeasuredRank, RankProcess]:
    variables = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        **visible_devices([f"cuda:{gpu.index}" for gpu in machine.gpus]),
    }
    on_cpu = {"VLLM_LOGGING_LEVEL": "ERROR"}
    together = RankEnvironment(ranks.map, str(folder))
    processes = {
        rank: RankProcess(
            rank.name,
            rank.number,
            together,
            variables if rank in ranks.gpus else on_cpu,
            folder / f"{rank.name.replace(' ', '-')}.log",
        )
        for rank in ranks.all
    }
    if ranks.halves:
        halved = RankEnvironment(ranks.halves_map, str(folder))
        processes |= {
            rank: RankProcess(
                rank.name, rank.number, halved, on_cpu, folder / f"half-{rank.number}.log", False
            )
            for rank in ranks.halves
        }
    return processes


def _samples_in(answer: dict[str, Any]) -> Samples:
    samples: Samples = answer["samples"]
    return samples

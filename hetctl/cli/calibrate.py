"""The measuring part of ``hetctl probe --calibrate``: progress, interruption, saving."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from hetctl.calibrate.calibration import Calibration
from hetctl.calibrate.steps import Step
from hetctl.cli.console import err
from hetctl.cli.end_signals import EndRequested, EndSignals
from hetctl.errors import EXIT_INTERRUPTED, HetctlError
from hetctl.launch.run_folder import RunFolder
from hetctl.machine import Machine
from hetctl.profiles.measured_file import profile_path
from hetctl.units import format_duration

if TYPE_CHECKING:
    from hetctl.calibrate.calibration import Observer
    from hetctl.machine_profile import MachineProfile


def calibrate(machine: Machine) -> "MachineProfile":
    """Measure this machine, and keep the profile in the user's cache.

    Raises:
        HetctlError: nothing could be measured, another vLLM is installed, or the profile
            cannot be written.
        typer.Exit: with 130, when interrupted; then nothing is written.
    """
    without_kernels = _prepare(machine)
    signals, folder = EndSignals(), RunFolder()
    began = time.monotonic()
    if not err.is_terminal:
        err.print("Starting a process on each device")
    try:
        with signals.handled(), _progress() as observer:
            calibration = Calibration(
                machine,
                folder.path,
                observer,
                signals.waiting,
                without_cpu_kernels=without_kernels,
            )
            profile = calibration.run()
            path = profile_path(machine.fingerprint)
            profile.save(path)
    except EndRequested:
        _say_what_is_lost(calibration, machine)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        folder.remove()
    passed = format_duration(round(time.monotonic() - began))
    err.print(f"Measured in {passed}; saved to {path}", markup=False, soft_wrap=True)
    return profile


def _prepare(machine: Machine) -> str | None:
    """Check vLLM and install the CPU kernels where missing.

    Returns:
        Why there are no CPU kernels, or None.
    """
    from hetctl.cli.activity import activity
    from vllm_hetero.kernels import KernelsError, ensure_kernels
    from vllm_hetero.version import VersionError, check_vllm_version

    try:
        check_vllm_version()
    except VersionError as error:
        raise HetctlError(str(error)) from error
    if not any(node.cores for node in machine.numa_nodes):
        return None
    try:
        with activity("looking for the CPU kernels") as say:
            ensure_kernels(say)
    except KernelsError as error:
        return str(error).rstrip(".")
    return None


def _say_what_is_lost(calibration: Calibration, machine: Machine) -> None:
    """What an interruption costs."""
    done, total = len(calibration.measured), len(calibration.steps)
    lost = f"{done} of {total} measurements are lost" if done else "nothing had been measured"
    named = f" ({', '.join(calibration.measured)})" if done else ""
    before = profile_path(machine.fingerprint).is_file()
    kept = "; the earlier measurements stay as they are" if before else ""
    err.print(
        f"Interrupted, and nothing was saved: {lost}{named}{kept}.",
        markup=False,
        soft_wrap=True,
    )


@contextmanager
def _progress() -> Iterator["Observer"]:
    """A bar on a terminal; a line for each measurement in a log."""
    if not err.is_terminal:

        def line(step: Step, position: int, of: int) -> None:
            text = f"[{position + 1}/{of}] {step.device.name}: {step.what}"
            err.print(text, markup=False, soft_wrap=True)

        yield line
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("starting a process on each device", total=None)

        def update(step: Step, position: int, of: int) -> None:
            text = f"{step.device.name}: {step.what}"
            progress.update(task, description=text, completed=position, total=of)

        yield update

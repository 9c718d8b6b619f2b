"""One line that says what is being waited for, and for how long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hetctl.cli.console import err


@contextmanager
def activity(first: str = "starting") -> Iterator[Callable[[str], None]]:
    """Yields a function that takes the name of each phase.

    On a terminal the line is redrawn with a spinner and the time spent; in a log each
    phase gets one line.
    """
    if not err.is_terminal:
        yield _once_per_phase()
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(first)
        yield lambda phase: progress.update(task, description=phase)


def _once_per_phase() -> Callable[[str], None]:
    last = ""

    def say(phase: str) -> None:
        nonlocal last
        if phase != last:
            last = phase
            err.print(phase, markup=False, soft_wrap=True)

    return say

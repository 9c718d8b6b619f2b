"""The two consoles: results go to stdout, progress and errors to stderr."""

from rich.console import Console

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


def warn(message: str) -> None:
    """Say what may go wrong, also to those who asked for quiet."""
    from rich.markup import escape

    quiet, err.quiet = err.quiet, False
    err.print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True)
    err.quiet = quiet

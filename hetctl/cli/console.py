"""The two consoles: results go to stdout, progress and errors to stderr."""

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

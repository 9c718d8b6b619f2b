"""The two consoles: results go to stdout, progress and errors to stderr."""

from rich.console import Console

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

"""Expected errors: each prints one sentence and ends with a fixed exit code.

::

    HetctlError            exit 1   something failed
    +-- UsageError         exit 2   an argument, option or input file is wrong
    +-- DoesNotFitError    exit 1   the model cannot be placed on this machine
    +-- LaunchError        exit 1   a server did not start, or died

The message is one sentence that names what is wrong, the value, the limit and the
remedy. Anything else that is raised is a bug and keeps its traceback.

``hetctl gate`` answers with its exit code: 0 no regression, 1 a regression, 3 not enough
evidence. So that 1 means nothing else there, every error of it is a UsageError.
"""

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_REGRESSION = 1
EXIT_NOT_ENOUGH_EVIDENCE = 3
EXIT_INTERRUPTED = 130


def printable(text: str) -> str:
    """``text`` with its control characters and lone surrogates written as Python writes them.

    Others' names must not command a terminal, and a sentence that quotes them stays one line.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class HetctlError(Exception):
    """An error that the user can act on."""

    exit_code = EXIT_FAILURE

    def __init__(self, message: str) -> None:
        # It may quote files and names from anywhere.
        super().__init__("\n".join(map(printable, message.split("\n"))))


class UsageError(HetctlError):
    """The command line, or a file that it names, is wrong."""

    exit_code = EXIT_USAGE


class DoesNotFitError(HetctlError):
    """No split of the model fits the memory that the machine has."""


class LaunchError(HetctlError):
    """A server process did not start, did not become healthy, or died."""

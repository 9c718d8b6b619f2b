"""Where a server's output goes, as the server sees it."""

from typing import Protocol

DRAIN_S = 2.0
"""Longest wait for what was written before a question, in seconds: reading takes milliseconds."""
CLOSE_S = 5.0
"""Longest wait for the last process to close its end, in seconds."""


class Output(Protocol):
    """Takes what one server says, and what each later start of it says.

    For each start, in this order::

        descriptor = output.open()      # before the process: stdout and stderr of it
        try:
            process = Popen(..., stdout=descriptor, stderr=descriptor)
        finally:
            output.started()            # also when Popen failed
        ...
        output.drained()                # the process died: now its log tells why
        why = cause(tail(log_path))
        ...
        tree.end()                      # every process below it
        output.close()                  # after that, and before the next open()

    ``drained`` and ``close`` may be called at any time, also twice, also if nothing was opened.
    """

    def open(self) -> int:
        """A descriptor for the standard output and error of a process that is about to start.

        It stays this object's own, which closes it: give it to ``Popen`` as it is.

        Raises:
            OSError: the log cannot be written.
        """

    def started(self) -> None:
        """The process has the descriptor, or was not started: ours is closed."""

    def drained(self, timeout_s: float = DRAIN_S) -> bool:
        """Wait until the log holds every line that was written before this call.

        A line whose end has not come yet is held back, unless no process has the descriptor any
        more: then it is in the log too.

        Returns:
            False if that took longer than ``timeout_s`` seconds.
        """

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """After the processes ended: all that they said is in the log, which is closed.

        A process that lives on with the descriptor is waited for ``timeout_s`` seconds, and then
        left: what it said until then is in the log, and what it writes later fails (EPIPE).
        """

"""Where the runs of machines are kept: a file per fingerprint, a line per run.

``~/.cache/hetctl/runs/FINGERPRINT.jsonl`` (or under ``XDG_CACHE_HOME``). It only grows, several
benchmarks may add to it at once, and a line that cannot be read costs only itself
(:mod:`hetctl.journal`). To forget a machine's past, remove its file.
"""

from hetctl.errors import HetctlError, UsageError
from hetctl.evidence.runs_path import runs_path
from hetctl.journal import Journal, append_line, read_lines
from hetctl.run_record import RunRecord


def keep(record: RunRecord) -> None:
    """Add a run; one that is there already is not added again.

    Raises:
        HetctlError: the file cannot be written.
    """
    append_line(runs_path(record.machine_fingerprint), record.model_dump_json())


def kept(fingerprint: str) -> Journal[RunRecord]:
    """All runs of a machine that can be read, and a sentence for each line that cannot.

    Raises:
        HetctlError: the file is there but cannot be opened.
    """
    found = read_lines(runs_path(fingerprint), _parse)
    strangers = {one.machine_fingerprint for one in found.entries} - {fingerprint}
    if strangers:
        raise HetctlError(
            f"{runs_path(fingerprint)} holds runs of another machine ({min(strangers)}); move "
            "them to a file of that name, or remove it."
        )
    return found


def _parse(line: bytes) -> RunRecord:
    try:
        return RunRecord.parse(line.decode(), origin="it")
    except UsageError as error:
        raise ValueError(str(error)) from error

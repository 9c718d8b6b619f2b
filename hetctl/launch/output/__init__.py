"""What a server says: its log files, one of them for each rank, and the same as records.

:mod:`~hetctl.launch.output.output` says what a :class:`~hetctl.launch.server.Server` needs and in
which order it calls it. ``OneFile`` hands the server a file; ``RankLogs`` a pipe, whose bytes go
``PipeReader`` -> ``Split`` (``Lines``, ``Origins``) -> ``RotatingLog`` and ``Delivery``.
"""

from hetctl.launch.output.one_file import OneFile
from hetctl.launch.output.output import Output
from hetctl.launch.output.rank_logs import RankLogs
from hetctl.launch.output.record import Record

__all__ = ["OneFile", "Output", "RankLogs", "Record"]

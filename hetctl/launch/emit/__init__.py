"""Plan and settings -> a file that lets something else start and watch ``hetctl serve``.

One file per target, each a pure function from :class:`~hetctl.launch.emit.settings.ServiceSettings`
to text. The text holds no secret: keys are named by their file, or by the cluster's secret.
Grafana's dashboard is of no server in particular, and needs no settings.
"""

"""What results of older schema versions lack, or have under other names.

1 differs from 2 in its plans only, which have a version of their own.
2 held one load, so that runs needed no point.
"""

from hetctl.bench.point import point_name
from hetctl.migration import Fields, Steps


def _one_load_becomes_a_point(results: Fields) -> Fields:
    rest = {name: value for name, value in results.items() if name != "offered_load"}
    load = results["offered_load"]
    point = point_name(load.get("request_rate"), load.get("max_concurrency", 8))
    return {
        **rest,
        "loads": [load],
        "runs": [{**run, "point": point} for run in results.get("runs", ())],
        # A server that died did so under the only load, or before there was one.
        "failed": [
            {**one, "point": point if one["phase"] == "load" else None}
            for one in results.get("failed", ())
        ],
    }


RESULTS_STEPS: Steps = {1: dict, 2: _one_load_becomes_a_point}

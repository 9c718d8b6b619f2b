"""Plans over a range of loads."""

from collections.abc import Sequence

from hetctl.errors import UsageError
from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.planner.decision import decide
from hetctl.planner.ranking import ranking
from hetctl.planner.request import PlanRequest
from hetctl.sweep import Sweep, SweepField, SweepPoint
from hetctl.workload import Workload

_FIELDS: dict[str, SweepField] = {
    "concurrency": "concurrency",
    "input-len": "input_len",
    "output-len": "output_len",
}
_MOST_VALUES = 64


def make_sweep(
    machine: Machine,
    spec: ModelSpec,
    workload: Workload,
    request: PlanRequest,
    field: SweepField,
    values: Sequence[int],
) -> Sweep:
    """Every strategy at each of ``values`` of a field of the workload.

    Raises:
        UsageError: the request contradicts the machine, the model or itself.
    """
    points = []
    for value in values:
        load = workload.model_copy(update={field: value})
        decision = decide(machine, spec, load, request)
        entries = ranking(decision.chosen, decision.candidates) if decision else ()
        points.append(SweepPoint(workload=load, ranking=entries))
    return Sweep(
        model=spec.name,
        machine_fingerprint=machine.fingerprint,
        field=field,
        values=tuple(values),
        points=tuple(points),
    )


def parse_sweep(text: str) -> tuple[SweepField, tuple[int, ...]]:
    """``concurrency=1,2,4,...,256``: dots go on as the numbers before them, times or plus.

    Raises:
        UsageError: an unknown field, something that is not a number above 0, or dots that
            cannot be continued.
    """
    name, _, numbers = text.partition("=")
    field = _FIELDS.get(name.strip().replace("_", "-"))
    if field is None:
        raise UsageError(f"--sweep {text!r}: sweep one of {', '.join(_FIELDS)}, such as "
                         f"concurrency=1,2,4,...,256.")  # fmt: skip
    parts = [part.strip() for part in numbers.split(",")]
    values: list[int] = []
    for i, part in enumerate(parts):
        if part == "...":
            if i + 2 != len(parts):
                raise UsageError(f"--sweep {text!r}: the dots stand before the last number.")
            values += _continued(values, _number(parts[-1], text), text)
            continue
        if not values or part != str(values[-1]):
            values.append(_number(part, text))
    if len(values) > _MOST_VALUES:
        raise UsageError(f"--sweep {text!r} has {len(values)} values; give {_MOST_VALUES} at most.")
    return field, tuple(values)


def _number(part: str, text: str) -> int:
    if not part.isdecimal() or int(part) < 1:
        raise UsageError(f"--sweep {text!r}: {part!r} is not a number above 0.")
    return int(part)


def _continued(values: list[int], last: int, text: str) -> list[int]:
    if len(values) < 2 or not values[-2] < values[-1] < last:
        raise UsageError(f"--sweep {text!r}: dots need two rising numbers before them and a larger "
                         f"one behind.")  # fmt: skip
    before, now = values[-2:]
    doubling = len(values) >= 3 and values[-1] * values[-3] == values[-2] ** 2
    doubling = doubling or (len(values) == 2 and now % before == 0 and now > before + 1)
    found: list[int] = []
    while now < last and len(found) <= _MOST_VALUES:
        before, now = now, now * now // before if doubling else 2 * now - before
        found.append(min(now, last))
    return found

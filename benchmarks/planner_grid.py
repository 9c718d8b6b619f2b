"""What ``planner_accuracy.py`` measures: which engines, and which loads on each.

Every strategy is planned for every load, with room for the same number of KV-cache tokens: a
context of ``kv_tokens / concurrency``. So plans of one strategy are mostly the same engine, and
one start of it serves several loads; and ``auto`` gets no more memory than its rivals.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from hetctl.cli.plan_options import PlanInputs
from hetctl.errors import DoesNotFitError, UsageError
from hetctl.plan import Plan
from hetctl.planner import PlanRequest, parse_devices, parse_split, parse_strategy
from hetctl.workload import Workload


@dataclass(frozen=True)
class Choice:
    """A way to run the model, as a person would ask for it."""

    name: str
    """A strategy, or a split with its devices: ``20-12@cuda:0-cpu``."""

    def request(self, base: PlanRequest) -> PlanRequest:
        """``base`` with this choice.

        Raises:
            UsageError: the name is neither.
        """
        if self.name[:1].isdigit():
            split, _, devices = self.name.partition("@")
            return replace(
                base,
                split=parse_split(split.replace("-", ",")),
                devices=parse_devices(devices.replace("-", ",")) if devices else None,
            )
        return replace(base, strategy=parse_strategy(self.name))


@dataclass(frozen=True)
class Case:
    """A choice under a load: its plan, or why there is none."""

    choice: Choice
    load: Workload
    plan: Plan | None
    why_not: str = ""


@dataclass
class Engine:
    """One way to start vLLM, and the cases that it runs."""

    key: str
    cases: list[Case] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        """The plan that it is started by: the shortest context that all of its loads fit in."""
        plans = [case.plan for case in self.cases if case.plan is not None]
        longest = max(case.load.input_len + case.load.output_len for case in self.cases)
        return min(
            (plan for plan in plans if plan.max_model_len > longest),
            key=lambda plan: plan.max_model_len,
        )


def cases(inputs: PlanInputs, choices: Iterable[Choice], loads: Iterable[Workload]) -> list[Case]:
    """Every choice under every load."""
    loads = list(loads)
    return [_case(inputs, choice, load) for choice in choices for load in loads]


def engines(found: Iterable[Case]) -> list[Engine]:
    """The engines that the cases need, in their order."""
    by_key: dict[str, Engine] = {}
    for case in found:
        if case.plan is not None:
            key = engine_key(case.plan)
            by_key.setdefault(key, Engine(key)).cases.append(case)
    return list(by_key.values())


def engine_key(plan: Plan) -> str:
    """What tells two engines of one model apart: ``pipeline 20+12 cuda:0,cpu``."""
    parts = [plan.strategy, "+".join(map(str, plan.split)), ",".join(plan.devices)]
    if plan.offload is not None and plan.offload.backend == "uva":
        parts.append(f"{plan.offload.gib_per_gpu:g} GiB")
    elif plan.offload is not None:
        parts.append(f"{plan.offload.num_in_group} of {plan.offload.group_size}")
    return " ".join(parts)


def load_key(load: Workload) -> str:
    """``8x2048``: concurrency and prompt length."""
    return f"{load.concurrency}x{load.input_len}"


def parse_loads(text: str, output_len: int, kv_tokens: int) -> Iterator[Workload]:
    """``8x2048,64x128``: concurrency and prompt length.

    Raises:
        UsageError: something else, or a load that ``kv_tokens`` are too few for.
    """
    for part in text.split(","):
        concurrency, _, input_len = part.partition("x")
        if not (concurrency.isdecimal() and input_len.isdecimal()):
            raise UsageError(f"--loads: {part!r} is not CONCURRENCYxPROMPT, such as 8x2048.")
        context = kv_tokens // int(concurrency)
        # One token more: vLLM wants room for a prompt and its answer below the limit.
        if context <= int(input_len) + output_len:
            raise UsageError(
                f"--loads: {part} needs more than {int(concurrency)} x "
                f"{int(input_len) + output_len} tokens of KV cache; raise --kv-tokens."
            )
        yield Workload(
            concurrency=int(concurrency),
            input_len=int(input_len),
            output_len=output_len,
            max_model_len=context,
        )


def _case(inputs: PlanInputs, choice: Choice, load: Workload) -> Case:
    asked = replace(inputs, workload=load, request=choice.request(inputs.request))
    try:
        return Case(choice, load, asked.plan())
    except (DoesNotFitError, UsageError) as error:
        return Case(choice, load, None, str(error))

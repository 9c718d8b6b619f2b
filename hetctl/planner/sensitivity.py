"""What would change the choice: another number of sequences, or another machine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from hetctl.document import Figure, FigureByRows
from hetctl.errors import UsageError
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.model.spec import ModelSpec
from hetctl.plan import Crossover, WhatIf
from hetctl.planner.decision import Decision, decide
from hetctl.planner.evidence import NO_EVIDENCE
from hetctl.planner.ranking import times
from hetctl.planner.request import PlanRequest
from hetctl.units import format_bytes
from hetctl.workload import Workload

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Some dozens of plans are made: for more devices than these, that would take longer than a person
# waits for one. A sweep still does it.
_MOST_DEVICES = 4

# A change that gives less is not worth a sentence.
_WORTH_SAYING = 1.15

_NEWEST_PCIE = 5


def worth_exploring(machine: Machine) -> bool:
    """Whether the machine is small enough to look for what would change a plan."""
    return len(machine.gpus) + sum(bool(node.cores) for node in machine.numa_nodes) <= _MOST_DEVICES


def find_crossovers(
    machine: Machine, spec: ModelSpec, workload: Workload, request: PlanRequest
) -> tuple[Crossover, ...]:
    """The choice from one sequence on, and each number of sequences where it changes.

    Looked for between powers of two, so a strategy that is best between two of them only is
    missed. Ends where nothing fits any more.
    """

    def at(concurrency: int) -> Crossover | None:
        load = workload.model_copy(update={"concurrency": concurrency})
        found = decide(machine, spec, load, request)
        if found is None:
            return None
        rate = found.chosen.prediction.output_tokens_per_s
        return Crossover(
            concurrency=concurrency,
            strategy=found.chosen.strategy,
            name=found.name,
            output_tokens_per_s=rate,
        )

    crossovers: list[Crossover] = []
    last = None
    for concurrency in CONCURRENCIES:
        here = at(concurrency)
        if here is None:
            break
        if last is None:
            crossovers.append(here)
        elif here.name != last.name:
            crossovers.append(_first_unlike(last, here, at))
        last = here
    return tuple(crossovers)


def crossover_sentences(crossovers: Sequence[Crossover], concurrency: int) -> Iterator[str]:
    """Where the choice changes, on either side of the planned number of sequences."""
    for before, after in pairwise(crossovers):
        if concurrency < after.concurrency:
            yield f"Above {after.concurrency - 1} concurrent sequences, {after.name} wins."
        elif before.name != after.name:
            yield f"Up to {after.concurrency - 1} concurrent sequences, {before.name} wins."


def what_if(
    machine: Machine,
    spec: ModelSpec,
    workload: Workload,
    request: PlanRequest,
    decision: Decision,
) -> tuple[WhatIf, ...]:
    """Changes of the machine that would be worth it, each for itself."""
    # Another machine has no past: what is known of this one's stays out on both sides.
    now = decision.chosen.prediction.uncorrected.output_tokens_per_s
    found = []
    for change, other, asked in _variants(machine, request, decision):
        try:
            there = decide(other, spec, workload, replace(asked, evidence=NO_EVIDENCE))
        except UsageError:
            continue  # The request names what the variant has not, such as a pretended memory.
        if there is None:
            continue
        speedup = there.chosen.prediction.output_tokens_per_s / now
        if speedup >= _WORTH_SAYING:
            found.append(
                WhatIf(
                    change=change,
                    strategy=there.chosen.strategy,
                    name=there.name,
                    speedup=speedup,
                )
            )
    return tuple(found)


def said(change: WhatIf) -> str:
    """``A PCIe 5.0 slot would be 1.6x faster (GPU with prefetched layers).``"""
    text = change.change[:1].upper() + change.change[1:]
    return f"{text} would make it {times(change.speedup)} faster ({change.name})."


def _variants(
    machine: Machine, request: PlanRequest, decision: Decision
) -> Iterator[tuple[str, Machine, PlanRequest]]:
    pcie = [gpu.pcie.generation_max for gpu in machine.gpus if gpu.pcie]
    generation = min((g for g in pcie if g is not None), default=_NEWEST_PCIE)
    if generation < _NEWEST_PCIE:
        faster = tuple(_with_faster_link(gpu) for gpu in machine.gpus)
        change = f"a PCIe {generation + 1}.0 slot"
        yield change, machine.model_copy(update={"gpus": faster}), request
    if machine.gpus:
        nodes = tuple(_with_faster_memory(node) for node in machine.numa_nodes)
        yield "host memory twice as fast", machine.model_copy(update={"numa_nodes": nodes}), request
    missing = _missing_gpu_bytes(decision)
    if missing:
        gpus = tuple(_with_more_memory(gpu, missing, request) for gpu in machine.gpus)
        change = f"{format_bytes(missing)} more memory on the GPU"
        larger = machine.model_copy(update={"gpus": gpus})
        yield change, larger, replace(request, gpu_memory_bytes=None)


def _missing_gpu_bytes(decision: Decision) -> int:
    """What the only GPU lacks to hold the model; 0 with several, or where it does."""
    alone = [c for c in decision.candidates if c.strategy == "gpu"]
    if len(alone) != 1 or alone[0].placement is not None or len(alone[0].devices) != 1:
        return 0
    gpu = alone[0].devices[0]
    memory = decision.placer.memory([gpu])
    return memory.needed(gpu, 0, len(memory.spec.layers)) - gpu.memory_limit_bytes


def _with_faster_link(gpu: Gpu) -> Gpu:
    return gpu.model_copy(
        update={
            "host_to_device_bytes_per_s": _twice(gpu.host_to_device_bytes_per_s),
            "uva_read_bytes_per_s_by_rows": _twice_by_rows(gpu.uva_read_bytes_per_s_by_rows),
        }
    )


def _with_faster_memory(node: NumaNode) -> NumaNode:
    """Reading doubles; what is bound by computing stays."""
    curves = (
        "weight_read_bytes_per_s_by_rows",
        "weight_read_fp16_bytes_per_s_by_rows",
        "weight_read_fp32_bytes_per_s_by_rows",
    )
    return node.model_copy(
        update={
            "memory_read_bytes_per_s": _twice(node.memory_read_bytes_per_s),
            "memory_read_bytes_per_s_by_node": {
                other: _twice(figure)
                for other, figure in node.memory_read_bytes_per_s_by_node.items()
            },
            "attention_read_bytes_per_s": _twice(node.attention_read_bytes_per_s),
            "attention_read_bytes_per_s_by_sequences": _twice_by_rows(
                node.attention_read_bytes_per_s_by_sequences
            ),
            **{name: _twice_until_computing(getattr(node, name)) for name in curves},
        }
    )


def _twice_until_computing(curve: FigureByRows | None) -> FigureByRows | None:
    if curve is None:
        return None
    flops = max(rows * rate for rows, rate in zip(curve.rows, curve.values, strict=True))
    return curve.model_copy(
        update={
            "values": tuple(
                min(2 * rate, max(rate, flops / rows))
                for rows, rate in zip(curve.rows, curve.values, strict=True)
            )
        }
    )


def _with_more_memory(gpu: Gpu, missing: int, request: PlanRequest) -> Gpu:
    total = min(gpu.memory_total_bytes, request.gpu_memory_bytes or gpu.memory_total_bytes)
    total += int(missing / request.gpu_memory_utilization) + 1
    return gpu.model_copy(update={"memory_total_bytes": total, "memory_free_bytes": total})


def _twice(figure: Figure | None) -> Figure | None:
    return figure and figure.model_copy(update={"value": 2 * figure.value})


def _twice_by_rows(figure: FigureByRows | None) -> FigureByRows | None:
    return figure and figure.model_copy(update={"values": tuple(2 * v for v in figure.values)})


def _first_unlike(
    last: Crossover, here: Crossover, at: Callable[[int], Crossover | None]
) -> Crossover:
    """Bisect to the first number of sequences whose choice is not ``last``'s."""
    low, high = last.concurrency, here
    while high.concurrency - low > 1:
        found = at((low + high.concurrency) // 2)
        if found is None or found.name == last.name:
            low = (low + high.concurrency) // 2
        else:
            high = found
    return high

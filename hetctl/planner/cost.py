"""How long a stage takes for one step: reading or computing, attention, overhead, hops.

Per layer, in seconds::

    max(weights read / rate by rows, FLOP / matrix rate)
    + KV cache read / attention's rate + attention's FLOP over the prompt / matrix rate
    + a fixed overhead

All requests step together, and a mixed pipeline alternates (one stage works while the
others wait), so the times of the stages add up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from hetctl.model.spec import DTYPE_BYTES, LayerSpec, ModelSpec
from hetctl.planner.rates import KernelRates
from hetctl.planner.steps import Step, Steps

# vLLM hands over the hidden state and the residual (IntermediateTensors of its models).
_TENSORS_PER_HOP = 2


@dataclass(frozen=True, slots=True)
class LayerTime:
    """Where one layer's part of a step goes, in seconds."""

    read_s: float
    """Reading the weights."""
    compute_s: float
    """Multiplying by them; the longer of the two counts."""
    attention_s: float
    overhead_s: float
    transfer_s: float = 0.0
    """All-reduces of a tensor-parallel group."""

    @property
    def weights_s(self) -> float:
        return max(self.read_s, self.compute_s)

    @property
    def total_s(self) -> float:
        return self.weights_s + self.attention_s + self.overhead_s + self.transfer_s


LAYER_PARTS = ("read_s", "compute_s", "weights_s", "attention_s", "overhead_s", "transfer_s")


@dataclass(frozen=True, slots=True)
class StepCost:
    """One kind of step on one device: any stage's time from differences."""

    step: Step
    layers: tuple[LayerTime, ...]
    sums_s: tuple[float, ...]
    """Prefix sums of the layers' totals, one entry more than there are layers."""
    parts_s: dict[str, tuple[float, ...]]
    """The same of each of ``LAYER_PARTS``."""
    head: LayerTime
    """The output head, on the last stage."""
    hop_in_s: float
    """This side of a hand-over from the stage before."""
    hop_out_s: float
    """And of one to the next stage."""
    edges_s: tuple[float, float, float, float]
    """Head and hops of a stage: index ``first + 2 * last``."""
    alike: bool
    """Whether all layers are."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """Times of any stage on one kind of device, for each kind of step."""

    decode: StepCost
    mixed: StepCost
    background: StepCost
    objective_sums: tuple[float, ...]
    """Prefix sums of what the layers add to the time per output token."""
    objective_edges: tuple[float, float, float, float]
    """The same for head and hops: index ``first + 2 * last``."""


AllReduce = Callable[[float], float]
"""Seconds that one all-reduce takes, by its bytes."""


def cost_model(steps: Steps, cost: Callable[[Step], StepCost]) -> CostModel:
    """Times of a model on a device under a load's ``steps``.

    Args:
        cost: Of the model on the device in one step.
    """
    decode, mixed, background = cost(steps.decode), cost(steps.mixed), cost(steps.background)
    middle, first, last, only = map(
        steps.per_token_s, decode.edges_s, mixed.edges_s, background.edges_s
    )
    return CostModel(
        decode=decode,
        mixed=mixed,
        background=background,
        objective_sums=tuple(
            map(steps.per_token_s, decode.sums_s, mixed.sums_s, background.sums_s)
        ),
        objective_edges=(middle, first, last, only),
    )


@dataclass(frozen=True, slots=True)
class LayerKinds:
    """The unlike layers of a model, and which of them each layer is."""

    kinds: tuple[LayerSpec, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, spec: ModelSpec) -> "LayerKinds":
        """By number, as comparing layers takes long."""
        numbers = {layer: number for number, layer in enumerate(dict.fromkeys(spec.layers))}
        return cls(tuple(numbers), tuple(numbers[layer] for layer in spec.layers))


def step_cost(
    spec: ModelSpec,
    rates: KernelRates,
    step: Step,
    all_reduce: AllReduce | None = None,
    layers: LayerKinds | None = None,
) -> StepCost:
    """Times of ``spec`` on a device of ``rates`` in one ``step``.

    Args:
        all_reduce: Of the tensor-parallel group that ``spec`` is one rank's share in.
        layers: Those of ``spec``, where they are known already.
    """
    layers = layers or LayerKinds.of(spec)
    order = layers.order
    kinds = [layer_time(layer, spec, rates, step) for layer in layers.kinds]
    state = step.rows * spec.hidden_size * DTYPE_BYTES[spec.dtype]
    head = _head_time(spec, rates, step)
    if all_reduce is not None and step.rows:
        # After attention and after the MLP; after the embedding, and for the logits, of which
        # each rank has those of its share of the vocabulary.
        shared = 2 * all_reduce(state)
        kinds = [replace(time, transfer_s=shared) for time in kinds]
        logits = step.sampled * spec.head_bytes / spec.hidden_size
        head = replace(head, transfer_s=all_reduce(state) + all_reduce(logits))
    size = _TENSORS_PER_HOP * state
    hop_in, hop_out = (
        rates.hop_latency_s + size / rate if step.rows else 0.0
        for rate in (rates.hop_in_bytes_per_s, rates.hop_out_bytes_per_s)
    )
    return StepCost(
        step=step,
        layers=tuple(kinds[number] for number in order),
        sums_s=_sums(order, [time.total_s for time in kinds]),
        parts_s={
            part: _sums(order, [getattr(time, part) for time in kinds]) for part in LAYER_PARTS
        },
        head=head,
        hop_in_s=hop_in,
        hop_out_s=hop_out,
        edges_s=(hop_in + hop_out, hop_out, hop_in + head.total_s, head.total_s),
        alike=len(kinds) == 1,
    )


def _sums(order: Sequence[int], kinds: list[float]) -> tuple[float, ...]:
    return tuple(accumulate(map(kinds.__getitem__, order), initial=0.0))


def layer_time(layer: LayerSpec, spec: ModelSpec, rates: KernelRates, step: Step) -> LayerTime:
    """One layer in one step; nothing where the step has no rows."""
    if not step.rows:
        return LayerTime(0.0, 0.0, 0.0, 0.0)
    visible = _visible(layer, step.decode_context)
    kv_bytes = step.decoding * visible * layer.kv_bytes_per_token
    prompt_flops = step.prompt_tokens * _attention_flops(spec, _seen_by_prompt(layer, step))
    return LayerTime(
        read_s=sum(size / rates.weight_read.at(rows) for size, rows in weight_reads(layer, step)),
        compute_s=step.rows * layer.flops_per_token / rates.matmul_flops,
        attention_s=kv_bytes / rates.attention_read.at(step.decoding)
        + prompt_flops / rates.matmul_flops,
        overhead_s=rates.layer_overhead_s,
    )


def weight_reads(layer: LayerSpec, step: Step) -> list[tuple[float, float]]:
    """``(bytes, rows that share them)`` of the GEMMs of a layer.

    With experts, rows that choose k of E independently leave an expert untouched with
    probability (1 - k/E)^rows; each of the others is read for its share of the rows.
    """
    experts, used = layer.experts, layer.experts_per_token
    # A step uses either what is in the checkpoint or what was derived from it.
    size = layer.weight_bytes - layer.derived_bytes
    if not experts or used >= experts:
        return [(float(size), float(step.rows))]
    per_expert = (size - layer.decode_weight_bytes) / (experts - used)
    touched = experts * (1 - (1 - used / experts) ** step.rows)
    always = size - experts * per_expert
    routed = (touched * per_expert, max(1.0, step.rows * used / touched))
    return [(always, float(step.rows)), routed] if always > 0 else [routed]


def weight_bytes_read(layer: LayerSpec, step: Step) -> float:
    """Bytes of a layer's weights that one step reads."""
    return sum(size for size, _ in weight_reads(layer, step))


def _head_time(spec: ModelSpec, rates: KernelRates, step: Step) -> LayerTime:
    if not step.rows:
        return LayerTime(0.0, 0.0, 0.0, 0.0)
    flops = 2.0 * spec.head_bytes / DTYPE_BYTES[spec.dtype] * step.sampled
    read = spec.head_bytes / rates.weight_read.at(step.sampled)
    return LayerTime(read, flops / rates.matmul_flops, 0.0, 0.0)


def _visible(layer: LayerSpec, context: float) -> float:
    return min(context, layer.sliding_window) if layer.sliding_window else context


def _seen_by_prompt(layer: LayerSpec, step: Step) -> float:
    """Tokens that a prompt token looks back on in this layer, on average: the mean over positions
    of the nearer of the beginning and the window's."""
    window, whole = layer.sliding_window, 2 * step.prompt_context - 1
    if window is None or whole <= window:
        return step.prompt_context
    return window - window * (window - 1) / (2 * whole)


def _attention_flops(spec: ModelSpec, context: float) -> float:
    """Scores and weighted sum: two multiply-adds per head, channel and visible token."""
    return 4.0 * spec.attention_heads * spec.head_dim * context

"""What is measured, in which order, and which figures come of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hetctl.calibrate.ranks import MeasuredRank, Ranks
from hetctl.calibrate.statistics import (
    Samples,
    by_bytes,
    by_rows,
    figure,
    flops,
    largest_copy_rate,
)
from hetctl.machine import NumaNode

Figures = dict[str, Any]
"""Fields of a node's or a GPU's profile."""

ToFigures = Callable[[Samples], Figures]


@dataclass(frozen=True)
class Step:
    """One measurement.

    Attributes:
        rank: Who measures; its device's profile gets the figures.
        what: For people: ``matrix rate in bf16``.
        command: What the rank is asked.
        budget_s: Time for the samples, to be shortened where there is much to measure; 0 where
            the number of samples is fixed.
        figures: Makes the figures of the samples.
        peer: The other rank of a message; it makes the shared memory.
        target: Whose profile gets the figures, where it is not ``rank``'s.
        reader: A CPU rank that reads memory meanwhile.
        reader_figures: Of the reader's own samples.
        timeout_s: Beyond three times the budget, until the answer.
    """

    rank: MeasuredRank
    what: str
    command: Mapping[str, Any]
    budget_s: float
    figures: ToFigures
    peer: MeasuredRank | None = None
    target: MeasuredRank | None = None
    reader: MeasuredRank | None = None
    reader_figures: ToFigures | None = None
    timeout_s: float = 30.0
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the profile gets with the figures."""
    kernels: bool = False
    """Whether vLLM's kernels are needed."""

    @property
    def device(self) -> MeasuredRank:
        """Whose profile gets the figures."""
        return self.target or self.rank


def steps_of(ranks: Ranks) -> list[Step]:
    """All measurements for these ranks, the most important first."""
    steps: list[Step] = []
    for node in ranks.nodes:
        steps += _node(node, ranks)
    for gpu in ranks.gpus:
        steps += _gpu(gpu)
    for gpu in ranks.gpus:
        steps += _links(gpu, ranks)
    steps += _messages(ranks)
    return steps


def _node(node: MeasuredRank, ranks: Ranks) -> Iterator[Step]:
    room = {"nbytes": node.buffer_bytes}
    memory = {"measure": "memory", **room}
    yield Step(node, "memory read rate", memory, 4.0, _scalar("memory_read_bytes_per_s"))
    for other in ranks.nodes:
        if other is not node and isinstance(other.device, NumaNode):
            yield Step(
                node,
                f"memory read rate from {other.name}",
                {"measure": "memory", "nbytes": other.buffer_bytes, "node": other.device.id},
                1.5,
                _from_node(other.device.id),
            )
    for dtype, short, suffix, budget_s, flop_per_byte in (
        ("bfloat16", "bf16", "", 18.0, 1.0),
        ("float16", "fp16", "_fp16", 8.0, 1.0),
        ("float32", "fp32", "_fp32", 10.0, 0.5),
    ):
        yield Step(
            node,
            f"weight read and matrix rate in {short}",
            {"measure": "weights", "dtype": dtype, **room},
            budget_s,
            _weights(f"weight_read{suffix}_bytes_per_s_by_rows", short, flop_per_byte),
            kernels=True,
        )
    yield _attention(node)
    yield _layer(node, "layer_overhead_s", "layer", "overhead of a layer")


def _gpu(gpu: MeasuredRank) -> Iterator[Step]:
    memory = {"measure": "memory", "nbytes": gpu.buffer_bytes}
    yield Step(gpu, "memory read rate", memory, 1.5, _scalar("memory_read_bytes_per_s"))
    yield Step(
        gpu,
        "weight read rate",
        {"measure": "weights"},
        5.0,
        lambda samples: {"weight_read_bytes_per_s_by_rows": by_rows(samples)},
    )
    for dtype, short in (("bfloat16", "bf16"), ("float16", "fp16"), ("float32", "fp32")):
        matrix = {"measure": "matrix", "dtype": dtype}
        yield Step(gpu, f"matrix rate in {short}", matrix, 1.0, _scalar(f"matmul_{short}_flops"))
    yield _attention(gpu)
    yield _layer(gpu, "layer_overhead_s", "layer-in-graph", "overhead of a layer, CUDA graphs")
    yield _layer(gpu, "layer_overhead_eager_s", "layer", "overhead of a layer, eager")


def _links(gpu: MeasuredRank, ranks: Ranks) -> Iterator[Step]:
    """One GPU after the other: they may share a link, and the host's memory."""
    directions = (("host_to_device", True, "to"), ("device_to_host", False, "from"))
    for name, to_device, word in directions:
        yield Step(
            gpu,
            f"copies {word} the GPU",
            {"measure": "copies", "to_device": to_device},
            3.0,
            _copies(name),
        )
    reader = _reader(gpu, ranks)
    for name, to_device, word in directions if reader else ():
        yield Step(
            gpu,
            f"copies {word} the GPU while the CPU reads",
            {"measure": "copies", "to_device": to_device},
            3.0,
            _timed(f"{name}_while_cpu_reads_s_by_bytes"),
            reader=reader,
            reader_figures=_scalar("memory_read_while_copying_bytes_per_s") if to_device else None,
        )
    yield Step(
        gpu,
        "weights read over the link (UVA)",
        {"measure": "uva"},
        4.0,
        lambda samples: {"uva_read_bytes_per_s_by_rows": by_rows(samples)},
    )
    if len(ranks.gpus) > 1:
        position = ranks.gpus.index(gpu)
        peer = (position + 1) % len(ranks.gpus)
        yield Step(
            gpu,
            f"copies to {ranks.gpus[peer].name}",
            {"measure": "peer", "peer": peer},
            1.0,
            _scalar("device_to_device_bytes_per_s"),
        )


def _messages(ranks: Ranks) -> Iterator[Step]:
    """Each node's rank with the nearest GPU, with the next node's, or with its other half."""
    for position, node in enumerate(ranks.nodes):
        if ranks.gpus:
            leader, maker, kind = ranks.near(node), node, "gpu"
        elif len(ranks.nodes) > 1:
            leader, maker, kind = ranks.nodes[(position + 1) % len(ranks.nodes)], node, "cpu"
        elif ranks.halves:
            leader, maker, kind = ranks.halves[0], ranks.halves[1], "cpu"
        else:
            return
        other = leader.name if leader not in ranks.halves else "another CPU rank"
        for measure, name in (("hop", "hop"), ("all-reduce", "all_reduce")):
            yield Step(
                leader,
                f"{measure} with {other}",
                {"measure": measure},
                0.0,
                _timed(f"{name}_s_by_bytes"),
                peer=maker,
                target=node,
                timeout_s=45.0,
                fixed={"hop_peer": kind},
            )


def _reader(gpu: MeasuredRank, ranks: Ranks) -> MeasuredRank | None:
    return next((node for node in ranks.nodes if ranks.near(node) is gpu), None) or next(
        iter(ranks.nodes), None
    )


def _attention(rank: MeasuredRank) -> Step:
    return Step(
        rank,
        "attention read rate",
        {"measure": "attention", "nbytes": rank.buffer_bytes},
        5.0,
        lambda samples: {"attention_read_bytes_per_s_by_sequences": by_rows(samples)},
        kernels=True,
    )


def _layer(rank: MeasuredRank, name: str, measure: str, what: str) -> Step:
    return Step(rank, what, {"measure": measure}, 2.0, _scalar(name), kernels=True)


def _scalar(name: str) -> ToFigures:
    return lambda samples: {name: figure(samples["0"])}


def _from_node(node: int) -> ToFigures:
    return lambda samples: {"memory_read_bytes_per_s_by_node": {node: figure(samples["0"])}}


def _weights(name: str, short: str, flop_per_byte: float) -> ToFigures:
    return lambda samples: {
        name: by_rows(samples),
        f"matmul_{short}_flops": flops(samples, flop_per_byte),
    }


def _timed(name: str) -> ToFigures:
    return lambda samples: {name: by_bytes(samples)}


def _copies(name: str) -> ToFigures:
    return lambda samples: {
        f"{name}_s_by_bytes": by_bytes(samples),
        f"{name}_bytes_per_s": largest_copy_rate(samples),
    }

"""Draws ``docs/images/*.svg``: ``python tools/docs/draw_pictures.py``.

Where a picture shows a measurement, its figures stand here with the page that they are from.
"""

from collections.abc import Iterator
from pathlib import Path

from tools.docs.drawing import arrow, box, line, picture, text, tip

FOLDER = Path(__file__).parents[2] / "docs" / "images"

STEP_MS = {
    # Of docs/results/runtime.md, `benchmarks/runtime.py --engines hybrid,prefetch,gpu`.
    "hybrid": {1: 35.4, 8: 35.2, 64: 59.0},
    "prefetch": {1: 67.2, 8: 66.3, 64: 67.8},
    "gpu": {1: 4.9, 8: 4.8, 64: 5.5},
}
HYBRID_PARTS_MS = {"cpu": 29.6, "gpu": 3.7, "idle": 2.1}
"""Of the same page, at one sequence: the CPU stage, the GPU stage and what is between them."""


def overview() -> str:
    return picture(
        214,
        [
            text(240, 18, "one vLLM engine, one model of 32 layers", "soft", "middle"),
            box(10, 32, 196, 128, "box", 8),
            text(24, 56, "CPU rank"),
            text(24, 75, "host memory", "small soft"),
            *(box(24 + 21 * i, 92, 16, 16, "cpu", 2) for i in range(8)),
            text(24, 140, "layers 0–7", "small"),
            box(274, 32, 196, 128, "box", 8),
            text(288, 56, "GPU rank"),
            text(288, 75, "GPU memory", "small soft"),
            *(box(288 + 14 * (i % 12), 88 + 14 * (i // 12), 10, 10, "gpu", 2) for i in range(24)),
            text(288, 140, "layers 8–31", "small"),
            arrow(206, 96, 274, 96),
            text(240, 87, "hop", "small", "middle"),
            arrow(108, 196, 108, 160),
            text(118, 190, "prompt or last token", "small soft"),
            arrow(372, 160, 372, 196),
            text(362, 190, "next token", "small soft", "end"),
        ],
    )


def data_flow() -> str:
    steps = [
        ("hetctl probe", "what is this machine", "machine", "GPUs, nodes, rates"),
        ("hetctl plan", "which split is fastest", "plan", "ranks, layers, speed"),
        ("hetctl serve", "a server that runs it", "rank map", "what each rank gets"),
        ("hetctl bench", "against the baselines", "results", "figures, reports"),
    ]

    def shapes() -> Iterator[str]:
        for i, (command, does, document, holds) in enumerate(steps):
            y = 10 + 82 * i
            yield box(10, y, 190, 52, "box", 6)
            yield text(24, y + 22, command)
            yield text(24, y + 41, does, "small soft")
            yield arrow(200, y + 26, 262, y + 26)
            yield box(262, y, 208, 52, "gpu", 6)
            yield text(276, y + 22, document, "on")
            yield text(276, y + 41, holds, "small on")
            if i < len(steps) - 1:
                yield line(f"M366 {y + 52} V{y + 67} H105 V{y + 74}")
                yield tip(105, y + 82, 0, 1)

    return picture(318, shapes())


def step_time() -> str:
    scale = 450 / STEP_MS["prefetch"][1]

    def bar(y: float, parts: dict[str, float]) -> Iterator[str]:
        x = 10.0
        for kind, milliseconds in parts.items():
            yield box(x, y, milliseconds * scale, 24, kind, 2)
            x += milliseconds * scale

    hybrid, prefetch, gpu = (STEP_MS[name][1] for name in ("hybrid", "prefetch", "gpu"))
    return picture(
        196,
        [
            text(10, 18, f"CPU stage, then GPU stage: {hybrid} ms"),
            *bar(28, HYBRID_PARTS_MS),
            text(18, 45, "8 layers on the CPU", "small on"),
            text(10, 86, f"the same 8 layers copied to the GPU: {prefetch} ms"),
            *bar(96, {"host": prefetch}),
            text(18, 113, "3.5 GB over PCIe; the GPU computes meanwhile", "small on"),
            text(10, 154, f"all 32 layers in GPU memory: {gpu} ms"),
            *bar(164, {"gpu": gpu}),
        ],
    )


def two_ways() -> str:
    return picture(
        300,
        [
            box(150, 8, 180, 56, "host", 6),
            text(240, 32, "host memory", "on", "middle"),
            text(240, 51, "weights of 8 layers", "small on", "middle"),
            arrow(170, 64, 96, 128),
            arrow(310, 64, 384, 128),
            text(112, 94, "memory bus", "small", "end"),
            text(112, 111, "118 GB/s", "small soft", "end"),
            text(368, 94, "PCIe 5 x16", "small"),
            text(368, 111, "55 GB/s", "small soft"),
            box(10, 128, 190, 60, "cpu", 6),
            text(105, 152, "CPU cores", "on", "middle"),
            text(105, 172, "read and multiply", "small on", "middle"),
            box(280, 128, 190, 60, "gpu", 6),
            text(375, 152, "GPU", "on", "middle"),
            text(375, 172, "copy, then multiply", "small on", "middle"),
            text(105, 216, "3.5 GB in 29.6 ms", "", "middle"),
            text(375, 216, "3.5 GB in 63 ms", "", "middle"),
            text(105, 242, "more rows: the CPU is", "small soft", "middle"),
            text(105, 259, "soon bound by computing", "small soft", "middle"),
            text(375, 242, "more rows: the same copy", "small soft", "middle"),
            text(375, 259, "serves all of them", "small soft", "middle"),
            text(105, 290, "few sequences", "", "middle"),
            text(375, 290, "many, or long prompts", "", "middle"),
        ],
    )


def step_by_sequences() -> str:
    base, scale = 210.0, 170 / 70
    kinds = {"hybrid": "cpu", "prefetch": "host", "gpu": "gpu"}

    def shapes() -> Iterator[str]:
        yield text(10, 20, "ms per decode step", "small soft")
        for milliseconds in (0, 20, 40, 60):
            y = base - milliseconds * scale
            yield line(f"M44 {y:.4g} H470", "grid")
            yield text(36, round(y + 4, 1), str(milliseconds), "small soft", "end")
        for i, sequences in enumerate(STEP_MS["gpu"]):
            x = 70 + 136 * i
            for k, (name, kind) in enumerate(kinds.items()):
                height = STEP_MS[name][sequences] * scale
                yield box(x + 36 * k, base - height, 30, height, kind, 2)
                label = f"{STEP_MS[name][sequences]:g}"
                yield text(x + 36 * k + 15, round(base - height - 5, 1), label, "small", "middle")
            unit = "sequence" if sequences == 1 else "sequences"
            yield text(x + 51, base + 20, f"{sequences} {unit}", "small", "middle")
        legend = {10: ("cpu", "GPU and CPU"), 140: ("host", "prefetch offloading")}
        legend[312] = ("gpu", "GPU that holds it all")
        for x, (kind, meaning) in legend.items():
            yield box(x, 241, 14, 14, kind, 2)
            yield text(x + 20, 252, meaning, "small")

    return picture(262, shapes())


def batches() -> str:
    def lane(y: float, name: str, work: list[tuple[float, float, str, str]]) -> Iterator[str]:
        yield text(10, y + 16, name, "small")
        yield box(70, y, 400, 22, "idle", 2)
        for start, width, kind, batch in work:
            yield box(70 + start, y, width - 2, 22, kind, 2)
            if batch:
                yield text(70 + start + width / 2 - 1, y + 16, batch, "small on", "middle")

    kinds = {"A": "cpu", "B": "host"}
    cpu_ms, gpu_ms = 57, 4
    cycle = 400 / 3
    cpu = cycle * cpu_ms / (cpu_ms + gpu_ms)
    return picture(
        316,
        [
            text(
                10, 20, f"a CPU stage of {cpu_ms} ms beside a GPU stage of {gpu_ms} ms: one batch"
            ),
            *lane(32, "CPU", [(cycle * i, cpu, "cpu", "A") for i in range(3)]),
            *lane(58, "GPU", [(cycle * i + cpu, cycle - cpu, "gpu", "") for i in range(3)]),
            text(10, 118, "two equal sockets, one batch: each waits for the other"),
            *lane(130, "socket 0", [(100 * i, 50, "cpu", "A") for i in range(4)]),
            *lane(156, "socket 1", [(100 * i + 50, 50, "cpu", "A") for i in range(4)]),
            text(10, 216, "two equal sockets, two batches: both compute"),
            *lane(228, "socket 0", [(50 * i, 50, kinds[b], b) for i, b in enumerate("ABABABAB")]),
            *lane(254, "socket 1", [(50 * i, 50, kinds[b], b) for i, b in enumerate("BABABABA")]),
            arrow(70, 292, 470, 292),
            text(470, 310, "time", "small soft", "end"),
        ],
    )


def numa() -> str:
    def shapes() -> Iterator[str]:
        for node, x in enumerate((10, 260)):
            yield box(x, 10, 210, 200, "box", 8)
            yield text(x + 14, 34, f"NUMA node {node}")
            yield box(x + 14, 48, 182, 64, "cpu", 6)
            yield text(x + 105, 75, f"rank {node + 1}", "on", "middle")
            yield text(x + 105, 95, "a thread on each core", "small on", "middle")
            yield box(x + 14, 140, 182, 54, "host", 6)
            yield text(x + 105, 163, "its layers", "on", "middle")
            yield text(x + 105, 182, "and their KV cache", "small on", "middle")
            yield arrow(x + 60, 140, x + 60, 112)
            yield text(x + 70, 131, "local reads", "small soft")
        yield line("M228 80 H252")
        yield tip(260, 80, 1, 0)
        yield tip(220, 80, -1, 0)
        yield box(10, 236, 210, 44, "gpu", 6)
        yield text(115, 263, "GPU: rank 0", "on", "middle")
        yield arrow(115, 236, 115, 210)
        yield text(125, 228, "PCIe", "small soft")
        yield text(260, 244, "between the nodes: 1 MiB of", "small soft")
        yield text(260, 262, "activations for 64 rows,", "small soft")
        yield text(260, 280, "never weights", "small soft")

    return picture(290, shapes())


def kv_cache() -> str:
    def blocks(y: float, height: float, kind: str) -> Iterator[str]:
        for i in range(13):
            yield box(120 + 27 * i, y, 24, height, kind if i < 9 else "idle", 2)

    return picture(
        280,
        [
            text(10, 20, "the same blocks on both ranks, each for its own layers"),
            text(10, 58, "CPU rank"),
            text(10, 76, "8 layers", "small soft"),
            text(10, 93, "4 MiB a block", "small soft"),
            *blocks(40, 36, "cpu"),
            text(10, 146, "GPU rank"),
            text(10, 164, "24 layers", "small soft"),
            text(10, 181, "12 MiB a block", "small soft"),
            *blocks(122, 108, "gpu"),
            line("M120 244 V252 H360 V244"),
            text(240, 270, "9 blocks in use: 1,152 tokens", "small", "middle"),
        ],
    )


def one_request() -> str:
    def process(x: float, y: float, width: float, height: float, kind: str, *words: str) -> str:
        on = "" if kind == "box" else "on"
        title, *rest = words
        shapes = [box(x, y, width, height, kind, 6), text(x + 12, y + 22, title, on)]
        for i, one in enumerate(rest):
            shapes.append(text(x + 12, y + 41 + 17 * i, one, f"small {on or 'soft'}"))
        return "\n".join(shapes)

    return picture(
        382,
        [
            process(10, 8, 460, 62, "box", "API server", "tokenizes, streams the answer"),
            process(
                *(10, 112, 460, 80, "box", "EngineCore"),
                "HeterogeneousScheduler: which tokens run in this step",
                "HeterogeneousExecutor: tells all ranks, awaits the last",
            ),
            process(10, 250, 206, 84, "cpu", "rank 0", "layers 0–7, on the CPU", "their KV cache"),
            process(
                *(264, 250, 206, 84, "gpu", "rank 1", "layers 8–31, on the GPU"),
                "their KV cache, sampling",
            ),
            arrow(120, 70, 120, 112),
            text(130, 97, "1 request (ZMQ)", "small"),
            arrow(360, 112, 360, 70),
            text(350, 97, "6 tokens (ZMQ)", "small", "end"),
            arrow(90, 192, 90, 250),
            arrow(300, 192, 300, 250),
            text(100, 226, "2 the step (shared memory)", "small"),
            arrow(420, 250, 420, 192),
            text(410, 239, "5 its tokens", "small", "end"),
            arrow(216, 306, 264, 306),
            text(240, 298, "4", "small", "middle"),
            text(10, 356, "3 rank 0 computes its layers, 4 a hop carries the", "small soft"),
            text(10, 373, "activations, rank 1 computes the rest and samples", "small soft"),
        ],
    )


PICTURES = {
    "overview": overview,
    "data-flow": data_flow,
    "step-time": step_time,
    "two-ways": two_ways,
    "step-by-sequences": step_by_sequences,
    "batches": batches,
    "numa": numa,
    "kv-cache": kv_cache,
    "one-request": one_request,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")

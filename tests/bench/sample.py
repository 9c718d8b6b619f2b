"""Results to render: a hybrid plan against a CPU rank and prefetching, invented but plausible."""

from datetime import UTC, datetime

from hetctl.bench.results import (
    Configuration,
    Distribution,
    Environment,
    Load,
    Measurement,
    Results,
    Run,
    Versions,
)
from hetctl.bench.telemetry.digest import GpuDigest, TelemetryDigest
from hetctl.launch.command import LaunchCommand
from hetctl.machine import Core, Cpu, Gpu, Machine, NumaNode
from hetctl.plan import Plan, Prediction, RankPlan
from hetctl.units import GIB
from hetctl.workload import Workload

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL = "org/tiny-8b"


def command(port: int = 8000) -> LaunchCommand:
    return LaunchCommand(
        argv=("vllm", "serve", MODEL, "--port", str(port), "--no-enable-prefix-caching"),
        env={"VLLM_HETEROGENEOUS_PLATFORM": "1", "VLLM_CPU_NOTE": "two words"},
        host="127.0.0.1",
        port=port,
        model_name=MODEL,
    )


def rank(index: int, device: str, layers: tuple[int, int], limit_gib: float) -> RankPlan:
    return RankPlan(
        rank=index,
        device=device,
        layers=layers,
        numa_node=0 if device == "cpu" else None,
        cpus=tuple(range(15)) if device == "cpu" else (),
        weight_bytes=(layers[1] - layers[0]) * GIB // 2,
        kv_cache_bytes=(layers[1] - layers[0]) * GIB // 16,
        activation_bytes=GIB // 2,
        framework_bytes=GIB,
        memory_limit_bytes=int(limit_gib * GIB),
    )


def plan(*ranks: RankPlan, strategy: str = "pipeline", output_tokens_per_s: float = 100.0) -> Plan:
    return Plan(
        model=MODEL,
        model_parameters=8_000_000_000,
        dtype="bfloat16",
        machine_fingerprint="f00d",
        workload=Workload(),
        strategy=strategy,
        ranks=ranks,
        max_model_len=4096,
        max_num_seqs=8,
        block_size=32,
        kv_cache_tokens=65536,
        prediction=Prediction(ttft_s=0.5, tpot_s=0.08, output_tokens_per_s=output_tokens_per_s),
    )


def hybrid_plan() -> Plan:
    return plan(rank(0, "cpu", (0, 8), 32), rank(1, "cuda:0", (8, 32), 22))


def cpu_plan() -> Plan:
    return plan(rank(0, "cpu", (0, 32), 48), strategy="cpu", output_tokens_per_s=20)


def machine() -> Machine:
    cores = tuple(Core(cpus=(i,)) for i in range(16))
    return Machine(
        hostname="bench-host",
        fingerprint="f00d",
        kernel="6.1.0",
        cpu=Cpu(model="Xeon 8481C", isa=("avx512f", "amx_bf16")),
        numa_nodes=(
            NumaNode(id=0, cores=cores, memory_total_bytes=128 * GIB, memory_free_bytes=100 * GIB),
        ),
        gpus=(Gpu(index=0, name="L4", memory_total_bytes=24 * GIB, memory_free_bytes=23 * GIB),),
        driver_version="550.54",
    )


def distribution(p50_s: float) -> Distribution:
    return Distribution(
        mean_s=p50_s * 1.1,
        p50_s=p50_s,
        p90_s=p50_s * 1.4,
        p95_s=p50_s * 1.6,
        p99_s=p50_s * 2.2,
    )


def measurement(tokens_per_s: float = 100.0, ttft_s: float = 0.5, **changes: object) -> Measurement:
    """32 requests of 512 + 128 tokens at this rate."""
    tokens = 32 * 128
    duration_s = tokens / tokens_per_s
    figures: dict[str, object] = {
        "duration_s": duration_s,
        "completed": 32,
        "failed": 0,
        "input_tokens": 32 * 512,
        "output_tokens": tokens,
        "request_throughput": 32 / duration_s,
        "output_throughput": tokens_per_s,
        "total_token_throughput": 5 * tokens_per_s,
        "ttft": distribution(ttft_s),
        "tpot": distribution(8 / tokens_per_s),
        "itl": distribution(7.6 / tokens_per_s),
        "e2el": distribution(ttft_s + 128 * 8 / tokens_per_s),
    }
    return Measurement.model_validate(figures | changes)


POINT = Load().point


def telemetry(gpu_energy_j: float = 4096.0, **changes: object) -> TelemetryDigest:
    """Of a run on the GPU and 16 CPUs that nothing disturbed."""
    figures: dict[str, object] = {
        "samples": 40,
        "gpus": (
            GpuDigest(
                index=0,
                energy_j=gpu_energy_j,
                power_mean_w=100.0,
                temperature_max_c=61.0,
                sm_clock_mean_hz=1.98e9,
                memory_used_max_bytes=22.0 * GIB,
                busy_mean=0.6,
                thermal_share=0.0,
                power_cap_share=0.0,
            ),
        ),
        "cpu_load_mean": 0.9,
        "cpu_frequency_mean_hz": 2.9e9,
        "cpu_frequency_min_hz": 2.8e9,
        "server_cpus_mean": 14.2,
        "foreign_cpu_share": 0.01,
        "memory_used_max_bytes": 60.0 * GIB,
        "server_memory_max_bytes": 20.0 * GIB,
        "cpu_package_energy_j": 8192.0,
    }
    return TelemetryDigest.model_validate(figures | changes)


def run(name: str, repeat: int = 1, measured: Measurement | None = None, point: str = POINT) -> Run:
    return Run(
        configuration=name,
        repeat=repeat,
        point=point,
        started=STARTED,
        server_start_s=42.0,
        measurement=measured or measurement(),
        server_log=f"logs/{name}-{repeat}-server.log",
        load_log=f"logs/{name}-{point}-{repeat}-load.log",
        raw_result=f"raw/{name}-{point}-{repeat}.json",
    )


HYBRID = Configuration(
    name="hybrid",
    title="Pipeline over cpu + cuda:0",
    role="plan",
    why="What hetctl plans here: 8+24 layers on cpu + cuda:0.",
    plan=hybrid_plan(),
    command=command(),
)
CPU = Configuration(
    name="cpu",
    title="One CPU rank",
    role="baseline",
    why="What vLLM does by itself on the cores of one NUMA node.",
    plan=cpu_plan(),
    command=command(),
)
PREFETCH = Configuration(
    name="gpu+prefetch",
    title="GPU, 4.5 GiB of weights prefetched",
    role="baseline",
    why="vLLM's own way to run a model that the GPU cannot hold.",
    command=command(),
)


def blank(*configurations: Configuration, **changes: object) -> Results:
    """Results before anything ran."""
    fields: dict[str, object] = {
        "model": MODEL,
        "environment": Environment(
            machine=machine(),
            versions=Versions(hetctl="0.1.0", vllm="0.26.0", torch="2.11.0", python="3.11.9"),
            git_commit="c0ffee",
            argv=("hetctl", "bench", MODEL, "--compare"),
            started=STARTED,
        ),
        "loads": (Load(),),
        "repeats": 1,
        "configurations": configurations or (HYBRID, CPU, PREFETCH),
    }
    return Results.model_validate(fields | changes)


def results(**changes: object) -> Results:
    """One run of each: hybrid 100, cpu 20, prefetch 80 output tokens/s."""
    runs = (
        run("hybrid", measured=measurement(100, 0.52)),
        run("cpu", measured=measurement(20, 2.4)),
        run("gpu+prefetch", measured=measurement(80, 0.11)),
    )
    return blank(**({"runs": runs, "duration_s": 512.0} | changes))

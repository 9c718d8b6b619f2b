"""The server inside a container of the repository's image (see the Dockerfile).

A container has its own numbers: its GPUs count from 0, and the CPUs that it may use are known when
it starts. So, unless the user gave a plan, only the decision is taken along (devices, split or
strategy, context, load), and ``hetctl serve`` plans inside, where it sees the container's CPUs,
NUMA nodes and memory.
"""

from hetctl.launch.emit.resources import gpus
from hetctl.launch.emit.settings import GivenOption, ServiceSettings
from hetctl.plan import Plan

USER = 10001
"""Of the image."""
MODELS = "/models"
"""The image's cache of the hub."""
STATE = "/state"
"""Where the image keeps logs."""
PLAN = "/etc/hetctl/plan.json"
API_KEY = "/run/secrets/hetctl/api-key"
_DECIDED = {"split", "strategy", "devices", "cpu-ranks", "machine", "max-model-len"}
"""Options whose answer is in the plan."""
_OF_THE_HOST = {"VLLM_HETERO_CACHE", "VLLM_HETERO_KERNELS_DIR", "VLLM_HETERO_KERNELS_WHEEL"}


def image(settings: ServiceSettings) -> str:
    """As the Dockerfile's first lines name it."""
    return f"hetctl:{settings.version.replace('+', '-')}"


def model(settings: ServiceSettings) -> str:
    """Where the model is in the container."""
    folder = settings.model_folder
    return f"{MODELS}/{folder.name}" if folder else settings.plan.model


def arguments(settings: ServiceSettings, api_key: str = API_KEY) -> list[str]:
    """What follows ``hetctl``."""
    words = [
        "serve",
        *([f"--plan={PLAN}"] if settings.plan_file else [model(settings), *_decision(settings)]),
        "--host=0.0.0.0",
        f"--port={settings.port}",
        f"--start-timeout={settings.start_timeout_s:g}",
        f"--api-key-file={api_key}",
        *settings.words(plans=False),
    ]
    vllm_args = list(settings.vllm_args)
    if settings.model_folder and not any("served-model-name" in word for word in vllm_args):
        # Clients are to name the model as they would without a container.
        vllm_args.append(f"--served-model-name={settings.plan.model}")
    return [*words, *(["--", *vllm_args] if vllm_args else [])]


def variables(settings: ServiceSettings) -> dict[str, str]:
    """Those that mean the same in a container."""
    return {
        name: value
        for name, value in settings.variables.items()
        if name not in _OF_THE_HOST and not (name.startswith("HF_") and value.startswith("/"))
    }


def plan_inside(settings: ServiceSettings) -> Plan:
    """The given plan, with its GPUs and its model as the container has them."""
    plan = settings.plan
    numbers = {f"cuda:{gpu}": f"cuda:{index}" for index, gpu in enumerate(gpus(plan))}
    ranks = tuple(
        rank.model_copy(update={"device": numbers.get(rank.device, rank.device)})
        for rank in plan.ranks
    )
    # The other strategies are for people who chose, and would be most of the file.
    told = {
        "model": model(settings),
        "ranks": ranks,
        "ranking": (),
        "crossovers": (),
        "what_if": (),
    }
    return plan.model_copy(update=told)


def _decision(settings: ServiceSettings) -> list[str]:
    """Options that lead the planner to the same devices, split and strategy."""
    plan = plan_inside(settings)
    decided = [GivenOption("devices", ",".join(_once(plan.devices)))]
    if "cpu" in plan.devices:
        decided.append(GivenOption("cpu-ranks", str(plan.devices.count("cpu"))))
    if plan.offload is None and plan.tensor_parallel_size == 1 and len(plan.ranks) > 1:
        decided.append(GivenOption("split", ",".join(map(str, plan.split))))
    else:
        decided.append(GivenOption("strategy", plan.strategy))
    decided.append(GivenOption("max-model-len", str(plan.max_model_len)))
    given = [o for o in settings.options if o.plans and o.name not in _DECIDED]
    return [option.word for option in (*decided, *given)]


def _once(devices: tuple[str, ...]) -> list[str]:
    """CPU ranks are one entry of --devices."""
    return list(dict.fromkeys(devices))

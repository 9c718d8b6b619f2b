"""The file of requests that a load consists of, where the generator does not draw them."""

from pathlib import Path

from hetctl.bench.chat import write_requests
from hetctl.bench.results import Load
from hetctl.errors import UsageError
from hetctl.model.files import open_model


def requests_file(load: Load, model: str, folder: Path) -> Path | None:
    """The load's requests below ``folder``, made when first needed; None where none is needed.

    Raises:
        UsageError: the model has no tokenizer.json to count tokens with.
    """
    if load.dataset != "custom":
        return None
    path = folder / "requests" / f"{load.workload}-{load.num_prompts}-seed{load.seed}.jsonl"
    if not path.exists():
        tokenizer = open_model(model).tokenizer()
        if tokenizer is None:
            raise UsageError(
                f"{model} has no tokenizer.json, which the workload {load.workload} is cut to "
                "length with; use --workload random."
            )
        write_requests(load, tokenizer, path)
    return path

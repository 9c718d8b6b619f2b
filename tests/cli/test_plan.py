"""``hetctl plan`` as a user sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hetctl.cli.app import app, main
from hetctl.plan import Plan
from hetctl.planner import make_plan
from hetctl.workload import Workload
from tests.planner.machines import machine, model

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A model folder and a machine file."""
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    machine(gpus=1, nodes=1).save(tmp_path / "machine.json")
    return str(folder), str(tmp_path / "machine.json")


def run(*arguments: str, columns: int = 80) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [80, 120])
def test_the_plan_is_readable_at_common_widths(files: tuple[str, str], columns: int) -> None:
    model_folder, where = files
    done = run(model_folder, "--machine", where, "--gpu-memory", "12GiB", columns=columns)
    assert done.exit_code == 0, done.output
    assert all(len(line) <= columns for line in done.output.splitlines())
    assert "…" not in done.output  # nothing was cut off
    for text in ("cpu node 0", "CPUs 2-15", "cuda:0", "tokens/s", "does not fit cuda:0"):
        assert text in done.output


def test_many_devices_stay_within_80_columns() -> None:
    from io import StringIO

    from rich.console import Console

    from hetctl.cli.plan_view import plan_view

    big = model(80, 1_711_276_032, name="org/a-model-with-a-long-name-70b-instruct")
    plan = make_plan(machine(gpus=8, nodes=4), big, Workload())
    out = Console(file=StringIO(), width=80)
    out.print(plan_view(plan))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert len(plan.ranks) > 6
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text


def test_json_is_the_plan_and_nothing_else(files: tuple[str, str], tmp_path: Path) -> None:
    model_folder, where = files
    saved = tmp_path / "plan.json"
    done = run(model_folder, "--machine", where, "--json", "--save", str(saved))
    assert done.exit_code == 0, done.output
    assert Plan.parse(done.stdout, "stdout") == Plan.load(saved)


def test_options_reach_the_plan(files: tuple[str, str]) -> None:
    model_folder, where = files
    done = run(
        *(model_folder, "--machine", where, "--json", "--split", "8,24", "--devices", "cpu,cuda:0"),
        *("--dtype", "float16", "--max-model-len", "1024", "--concurrency", "3"),
        *("--input-len", "100", "--output-len", "50"),
    )
    plan = Plan.parse(done.stdout, "stdout")
    assert (plan.split, plan.devices, plan.dtype) == ((8, 24), ("cpu", "cuda:0"), "float16")
    assert plan.max_model_len == 1024
    assert plan.workload == Workload(
        concurrency=3, input_len=100, output_len=50, max_model_len=1024
    )


def test_rates_that_a_machine_file_lacks_are_filled_in(
    files: tuple[str, str], tmp_path: Path
) -> None:
    bare = machine().gpus[0].model_copy(update={"memory_read_bytes_per_s": None})
    machine(gpus=[bare]).save(tmp_path / "bare.json")
    done = run(files[0], "--machine", str(tmp_path / "bare.json"), "--json")
    assert done.exit_code == 0, done.output
    assert Plan.parse(done.stdout, "stdout").prediction.rates == "estimate"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--split", "8,25"], 2, "the numbers must add up to 32"),
        (["--split", "8;24"], 2, "not auto, none or layers per stage"),
        (["--split", "0,32"], 2, "each stage needs at least 1"),
        (["--split", "-1,33"], 2, "each stage needs at least 1"),
        (["--devices", "gpu0"], 2, "not a device; write cpu or cuda:N"),
        (["--devices", "cuda:0,cuda:0"], 2, "names cuda:0 twice"),
        (["--gpu-memory", "12 parsecs"], 2, "not a size"),
        (["--dtype", "int3"], 2, "not a dtype that vLLM runs"),
        (["--max-model-len", "999999"], 2, "more than the 131072 tokens"),
        (["--split", "none", "--devices", "cuda:0", "--gpu-memory", "8GiB"], 1, "does not fit"),
    ],
)
def test_errors_are_one_sentence_with_their_exit_code(
    files: tuple[str, str],
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["hetctl", "plan", files[0], "--machine", files[1], *arguments]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == code
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text
    assert text.count("\n") == 1


def test_planning_imports_neither_torch_nor_vllm_nor_numpy(files: tuple[str, str]) -> None:
    code = (
        "import sys; from hetctl.cli.app import app\n"
        f"app(['plan', {files[0]!r}, '--machine', {files[1]!r}], standalone_mode=False)\n"
        "print([m for m in ('torch', 'vllm', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

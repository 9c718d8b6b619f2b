"""The folder that the documentation's commands run in.

What a page names as an example is really there: ``org/model`` is a folder with the shape of an 8B
Llama, ``plan.json`` is a plan of it. So a command runs as it is written, and its output is what a
page may show. The folder is a git repository with the recipes of ``ci/`` in it and a program
``hetctl`` in ``.venv/bin``, because pages speak of checkouts.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hetctl.model.tiny import write_tiny
from hetctl.profiles.machines import load_named_machine
from tests.bench.gate import noisy
from tests.docs.blocks import ROOT
from tests.docs.hetctl_calls import MACHINE
from tests.docs.programs import REAL, STOOD_IN_FOR
from vllm_hetero import env

MODEL_FOLDERS = ("org/model", "MODEL", "llama-8b")
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
TWO_CPU_RANKS = {
    "schema": "vllm_hetero.rank_map/1",
    "ranks": [{"rank": 0, "device": "cpu"}, {"rank": 1, "device": "cpu"}],
}
CACHE = Path(os.environ.get(env.CACHE) or Path("~/.cache").expanduser() / "vllm_hetero")
"""Where the CPU kernels are: the one thing that the sandbox has of the user's."""


@dataclass(frozen=True)
class Sandbox:
    """Where commands run.

    Attributes:
        folder: The working directory.
        record: A file with one line of JSON for each command line that vLLM would be given.
    """

    folder: Path
    record: Path
    programs: Path
    home: Path
    api_port: int

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run a block; its output and its errors come as one text."""
        return subprocess.run(
            ["bash", "--norc", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": str(self.programs),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            "HF_HUB_OFFLINE": "1",
            env.CACHE: str(CACHE),
            "DOCS_RECORD": str(self.record),
            "DOCS_API_PORT": str(self.api_port),
            # Variables that pages use and leave to the reader.
            "MODEL": str(self.folder / "org/model"),
            "RESULTS": str(self.folder / "measured"),
            "ROUNDS": "1",
        }


def make_sandbox(around: Path, api_port: int) -> Sandbox:
    """Make one below a folder, which also gets what lies beside a checkout."""
    sandbox = Sandbox(
        folder=around / "checkout",
        record=around / "vllm-commands.jsonl",
        programs=around / "programs",
        home=around / "home",
        api_port=api_port,
    )
    sandbox.record.touch()
    sandbox.home.mkdir()
    _make_programs(sandbox.programs)
    _make_checkout(sandbox)
    return sandbox


def _make_programs(folder: Path) -> None:
    """Everything that can be called, and nothing else: an unknown program is an error."""
    folder.mkdir()
    for name in REAL:
        found = shutil.which(name)
        assert found, f"the documentation's commands need {name}"
        (folder / name).symlink_to(found)
    for name in STOOD_IN_FOR:
        program = folder / name
        program.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            f"sys.path[:0] = {[str(ROOT)]!r}\n"
            "from tests.docs.programs import main\n"
            f"main({name!r}, sys.argv[1:])\n"
        )
        program.chmod(0o755)
    # Of a virtual environment, which pages tell to activate.
    (folder / "activate").touch()


def _make_checkout(sandbox: Sandbox) -> None:
    folder = sandbox.folder
    for name in MODEL_FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(LLAMA_8B))
    write_tiny(folder / "tiny")
    (folder / "map.json").write_text(json.dumps(TWO_CPU_RANKS))
    load_named_machine(MACHINE).save(folder / "machine.json")
    (folder / "gate.toml").write_text('fail = ["output_throughput<0.97"]\n')
    for name in ("benchmarks", "ci", "tools", "Dockerfile", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(sandbox.programs)
    # Two checkouts beside each other, and a folder with results, as the page on the gate has them.
    for name in ("base", "current"):
        noisy.results().save(folder / name / "results.json")
        (folder / name / ".venv").symlink_to(folder / ".venv")
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (
        ("init", "--quiet", "--initial-branch", "main"),
        ("add", "--all"),
        ("commit", "--quiet", "-m", "All"),
        # `main` must not be checked out here for a page to check it out beside.
        ("switch", "--quiet", "--create", "change"),
    ):
        subprocess.run([*git, *command], cwd=folder, check=True)
    made = sandbox.run(
        "hetctl plan org/model --gpu-memory 12GiB --save plan.json\n"
        "hetctl bench org/model --gpu-memory 12GiB --out DIR"
    )
    assert made.returncode == 0, made.stdout

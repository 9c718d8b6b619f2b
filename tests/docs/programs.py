"""Every program that the documentation may call, and what becomes of a call.

A program is either *real*, and simply runs, or *stood in for*, because it would take minutes, a
GPU, a network or root. A stand-in still reads the whole command line, and refuses what the program
itself would refuse. Any other program is not there: a page that calls one fails its test until it
is entered here.

===================== =======================================================================
program               what becomes of a call
===================== =======================================================================
those in REAL         runs
hetctl                runs, on ``hetctl_calls.MACHINE`` where a plan asks for one, with
                      the exceptions of ``hetctl_calls.py``: a server is planned and printed, not
                      started, and looked at where none runs; a benchmark ends before its first
                      server; nothing is calibrated
vllm                  its command line is kept, and read by vLLM's own parser in
                      ``test_commands.py``; engines run in ``tests/e2e``
make                  ``make --dry-run`` in this repository
python                a script, or a module of this repository, must be there, compile, and
                      name each option in its code; those who measure run the scripts
pytest                must be able to collect what it is told to run
sh                    ``sh -n``: the script must be there and be one
docker                options are those of ``docker.py``; what a container is told to run is run
                      here as ``hetctl``; ``tests/packaging`` looks at the Dockerfile
openssl               makes a key, as many systems of tests have no openssl
curl                  sends to a stand-in for the server; ``tests/e2e/test_features.py`` sends the
                      same to a real one
pip, uv, pipx, uvx    one of the calls of INSTALLATIONS, which ``tests/packaging`` proves
===================== =======================================================================
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

REAL = (
    *(
        "basename",
        "bash",
        "cat",
        "chmod",
        "cut",
        "dirname",
        "env",
        "find",
        "git",
        "grep",
        "ls",
        "mkdir",
    ),
    *("realpath", "rm", "sed", "seq", "sort", "tail", "tr", "uname", "uniq", "wc"),
)

INSTALLATIONS = (
    "pip install .",
    "pip install intel-openmp",
    "uv sync",
    "pipx install .",
    "uvx --from . hetctl probe",
)
"""Calls that would change the environment of the tests."""


def main(name: str, arguments: list[str]) -> None:
    """Stand in for a program; ends as that would end."""
    STOOD_IN_FOR[name](arguments)


def _hetctl(arguments: Sequence[str]) -> None:
    from tests.docs.hetctl_calls import call

    call(list(arguments))


def _vllm(arguments: Sequence[str]) -> None:
    from tests.docs.hetctl_calls import keep_vllm_command

    if list(arguments[:1]) != ["serve"]:
        _refuse(f"vllm {' '.join(arguments)}: only `vllm serve` is known here")
    keep_vllm_command(list(arguments))


def _openssl(arguments: Sequence[str]) -> None:
    if list(arguments[:2]) != ["rand", "-hex"] or len(arguments) != 3:
        _refuse(f"openssl {' '.join(arguments)}: only `openssl rand -hex N` is known here")
    print(secrets.token_hex(int(arguments[2])))


def _make(arguments: Sequence[str]) -> None:
    """Other folders of a page are checkouts of this one."""
    targets = [
        argument
        for before, argument in zip(("", *arguments), arguments, strict=False)
        if before != "-C" and argument != "-C"
    ]
    _run("make", "--dry-run", "--directory", str(ROOT), *targets)


def _python(arguments: Sequence[str]) -> None:
    if arguments[:2] == ["-m", "pytest"]:
        _pytest(arguments[2:])
        return
    if arguments[0] == "-m":
        arguments = [f"{arguments[1].replace('.', '/')}.py", *arguments[2:]]
    script = ROOT / arguments[0]
    if not script.is_file():
        _refuse(f"there is no {script}")
    code = script.read_text(encoding="utf-8")
    compile(code, str(script), "exec")
    helpers = {path.stem: path for path in script.parent.glob("*.py")}
    imported = re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)
    known = code + "".join(helpers[name].read_text() for name in imported if name in helpers)
    for option in _options(arguments[1:]):
        if f'"{option}"' not in known:
            _refuse(f"{arguments[0]} takes no {option}")


def _pytest(arguments: Sequence[str]) -> None:
    _run(sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments, cwd=ROOT)


def _sh(arguments: Sequence[str]) -> None:
    _run("sh", "-n", str(ROOT / arguments[0]))


def _docker(arguments: Sequence[str]) -> None:
    from tests.docs.docker import hetctl_arguments

    told = hetctl_arguments(list(arguments))
    if told is not None:
        _hetctl(told)


def _curl(arguments: Sequence[str]) -> None:
    from tests.docs.http_request import parse_curl

    request = parse_curl(list(arguments))
    sys.stdout.write(request.send(int(os.environ["DOCS_API_PORT"])))


def _installer(name: str) -> Callable[[Sequence[str]], None]:
    def check(arguments: Sequence[str]) -> None:
        words = " ".join((name, *arguments))
        if words not in INSTALLATIONS:
            _refuse(f"`{words}` is none of the installations that a test proves")

    return check


def _options(arguments: Sequence[str]) -> list[str]:
    return [word.partition("=")[0] for word in arguments if word.startswith("-")]


def _run(*command: str, cwd: Path | None = None) -> None:
    """As the program itself, with the test's own environment for finding programs."""
    environment = os.environ | {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        _refuse(done.stdout + done.stderr)


def _refuse(why: str) -> None:
    sys.exit(f"the documentation is wrong: {why}")


STOOD_IN_FOR: dict[str, Callable[[Sequence[str]], None]] = {
    "hetctl": _hetctl,
    "vllm": _vllm,
    "openssl": _openssl,
    "make": _make,
    "python": _python,
    "pytest": _pytest,
    "sh": _sh,
    "docker": _docker,
    "curl": _curl,
    **{name: _installer(name) for name in ("pip", "uv", "pipx", "uvx")},
}

"""The Compose file: Docker Compose itself reads from it what was asked for."""

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from hetctl.errors import printable
from hetctl.launch.emit import container
from hetctl.launch.emit.docker import compose_file
from hetctl.launch.emit.settings import ServiceSettings
from hetctl.plan import Plan
from tests.bench import sample
from tests.launch.emit.samples import cpu_service, few, service, services

KEY = "/run/secrets/api-key"


def read_by_compose(settings: ServiceSettings) -> Any:
    """The project as ``docker compose config`` says it, variables put in."""
    program = shutil.which("docker-compose", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("docker-compose is not installed")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "compose.yaml"
        file.write_text(compose_file(settings), encoding="utf-8")
        done = subprocess.run(
            [program, "--file", file, "config", "--format", "json"],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        # The program comes in a wrapper that ends with 0 whatever it says.
        assert done.stderr == ""
    # What it prints is a Compose file again, with its dollars doubled.
    return json.loads(done.stdout.replace("$$", "$"))


@settings(few, max_examples=20)
@given(services())
def test_compose_reads_back_every_argument(settings: ServiceSettings) -> None:
    project = read_by_compose(settings)
    main = project["services"]["hetctl"]
    assert main["command"] == container.arguments(settings, KEY)
    assert (
        main["environment"]["VLLM_HETERO_SCHEDULER"] == settings.variables["VLLM_HETERO_SCHEDULER"]
    )
    if settings.model_folder:
        assert main["volumes"][2]["source"] == str(settings.model_folder)
        assert main["volumes"][2]["target"] == container.model(settings)
    if settings.plan_file:
        plan = Plan.parse(project["configs"]["plan"]["content"], "plan.json")
        assert plan == container.plan_inside(settings)


@few
@given(services())
def test_the_same_without_compose_is_one_command_for_a_shell(settings: ServiceSettings) -> None:
    lines = compose_file(settings).splitlines()
    commands = [line.removeprefix("#   ") for line in lines if line.startswith("#   docker run")]
    if settings.plan_file:
        assert commands == []
        return
    # A comment is one line: a new line in an argument is there as Python writes it.
    words = shlex.split(commands[0])
    expected = [container.image(settings), *container.arguments(settings, KEY)]
    assert words[-len(expected) :] == [printable(word) for word in expected]


def test_it_reserves_the_gpus_of_the_plan_by_number() -> None:
    plan = sample.plan(
        sample.rank(0, "cuda:3", (0, 8), 22), sample.rank(1, "cuda:1", (8, 32), 22), strategy="gpu"
    )
    main = read_by_compose(service(plan=plan))["services"]["hetctl"]
    (device,) = main["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["1", "3"]
    assert "--devices=cuda:1,cuda:0" in main["command"]
    assert "deploy" not in read_by_compose(cpu_service())["services"]["hetctl"]


def test_others_reach_it_only_where_the_user_said_so() -> None:
    (port,) = read_by_compose(service())["services"]["hetctl"]["ports"]
    assert port["host_ip"] == "127.0.0.1"
    settings = service(host="0.0.0.0", api_key_file=Path("/etc/keys/k"))
    project = read_by_compose(settings)
    assert project["services"]["hetctl"]["ports"][0]["host_ip"] == "0.0.0.0"
    assert project["secrets"]["api-key"]["file"] == "/etc/keys/k"


def test_it_gives_ranks_what_a_container_takes_away() -> None:
    main = read_by_compose(service(drain_timeout_s=90.0))["services"]["hetctl"]
    assert main["cap_add"] == ["SYS_NICE"]
    assert int(main["shm_size"]) == 1 << 30
    assert main["ulimits"]["memlock"] == {"soft": -1, "hard": -1}
    assert main["stop_grace_period"] == "2m15s"
    assert main["init"] is True


def test_the_health_check_is_code_that_runs() -> None:
    main = read_by_compose(service(port=1))["services"]["hetctl"]
    kind, _, *words = main["healthcheck"]["test"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60)
    assert kind == "CMD"
    assert done.returncode == 1
    assert "Connection refused" in done.stderr

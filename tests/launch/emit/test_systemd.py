"""The systemd unit: what systemd reads from it is what was asked for, and GPUs stay usable."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from hetctl.errors import UsageError
from hetctl.launch.emit.settings import ServiceSettings
from hetctl.launch.emit.systemd import systemd_unit
from hetctl.launch.server import STOP_GRACE_S
from tests.launch.emit.samples import cpu_service, few, service, services
from tests.launch.emit.systemd_library import Systemd, settings_of

KEY = Path("/etc/keys/hetctl")
DEVICES = ("PrivateDevices", "DeviceAllow", "DevicePolicy", "ProtectClock", "PrivateUsers")
OTHERS = ("PrivateIPC", "MemoryDenyWriteExecute", "SystemCallFilter", "ProcSubset")
TAKE_AWAY = (*DEVICES, *OTHERS, "CPUAffinity", "NUMAPolicy")


def expected_words(settings: ServiceSettings) -> list[str]:
    return [
        *settings.executable,
        "serve",
        "--plan=/run/cred/plan.json",
        f"--host={settings.host}",
        f"--port={settings.port}",
        "--start-timeout=1800",
        *(option.word for option in settings.options if not option.plans),
        *(["--", *settings.vllm_args] if settings.vllm_args else []),
    ]


@few
@given(services())
def test_systemd_reads_back_every_word(settings: ServiceSettings) -> None:
    systemd = Systemd()
    unit = systemd_unit(settings)
    (command,) = settings_of(unit, "ExecStart")
    words = systemd.words(command)
    credentials = {"CREDENTIALS_DIRECTORY": "/run/cred"}
    assert systemd.with_variables(words, credentials) == expected_words(settings)
    variables = [systemd.words(value)[0] for value in settings_of(unit, "Environment")[4:]]
    assert variables == [f"VLLM_HETERO_SCHEDULER={settings.variables['VLLM_HETERO_SCHEDULER']}"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"port": 80, "host": "0.0.0.0"},
        {"api_key_file": KEY, "log": Path("/var/log/het ctl/serve.log")},
        {"model_folder": Path("/home/alice/models/tiny")},
        {"plan_file": Path("/srv/my 100% plan.json")},
        {"vllm_args": ("--chat-template", "{% if x %}\n${y} 'z' \"\\\"")},
    ],
)
def test_systemd_analyze_has_nothing_to_say(tmp_path: Path, changes: dict[str, Any]) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # It looks whether the program is there.
    file = tmp_path / "hetctl-tiny.service"
    file.write_text(systemd_unit(service(**changes, executable=("/bin/true",))))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, timeout=60
    )
    # Of systemd 254, for a back-off that grows.
    known = ("'RestartSteps'", "'RestartMaxDelaySec'", "hetctl-tiny.service")
    said = [line for line in done.stderr.splitlines() if "hetctl-tiny" in line]
    assert [line for line in said if not any(name in line for name in known[:2])] == []
    assert done.returncode == 0


def test_systemd_analyze_calls_it_more_than_medium_safe(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "hetctl-tiny.service"
    file.write_text(systemd_unit(service()))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=45", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("name", TAKE_AWAY)
def test_nothing_takes_from_ranks_what_they_need(name: str) -> None:
    assert settings_of(systemd_unit(service()), name) == []


def test_it_waits_longer_than_hetctl_does_itself() -> None:
    unit = systemd_unit(service(start_timeout_s=600.0, drain_timeout_s=90.0))
    (start,), (stop,) = settings_of(unit, "TimeoutStartSec"), settings_of(unit, "TimeoutStopSec")
    assert int(start) > 600
    assert int(stop) > 90 + STOP_GRACE_S


def test_a_user_of_its_own_unless_something_is_in_a_home() -> None:
    unit = systemd_unit(service())
    assert settings_of(unit, "DynamicUser") == ["yes"]
    assert settings_of(unit, "ProtectHome") == ["yes"]
    assert "HOME=%S/hetctl" in settings_of(unit, "Environment")
    for changes in (
        {"model_folder": Path("/home/alice/tiny")},
        {"executable": ("/home/alice/.local/bin/hetctl",)},
    ):
        unit = systemd_unit(service(**changes))
        assert settings_of(unit, "DynamicUser") == []
        assert settings_of(unit, "User") == ["alice"]
        assert settings_of(unit, "ProtectHome") == []


def test_a_key_is_read_by_systemd_and_needed_where_others_can_connect() -> None:
    assert "api-key" not in systemd_unit(service())
    unit = systemd_unit(service(api_key_file=KEY))
    assert f"api-key:{KEY}" in settings_of(unit, "LoadCredential")
    assert "--api-key-file=${CREDENTIALS_DIRECTORY}/api-key" in settings_of(unit, "ExecStart")[0]
    unit = systemd_unit(service(host="0.0.0.0"))
    assert "api-key:/etc/hetctl/hetctl-tiny-8b.api-key" in settings_of(unit, "LoadCredential")
    assert "openssl rand -hex 32 > /etc/hetctl/hetctl-tiny-8b.api-key" in unit


def test_its_log_is_where_systemd_makes_a_folder_for_it() -> None:
    unit = systemd_unit(service(log=Path("/var/log/hetctl/a/serve.log")))
    assert settings_of(unit, "LogsDirectory") == ["hetctl/a"]
    for log in ("/var/log/serve.log", "/srv/logs/serve.log"):
        with pytest.raises(UsageError, match=r"name a file in a folder below /var/log"):
            systemd_unit(service(log=Path(log)))
    at_home = service(log=Path("/home/alice/serve.log"))
    assert settings_of(systemd_unit(at_home), "LogsDirectory") == []


def test_only_gpus_need_their_device_files_made() -> None:
    assert "nvidia-modprobe" in "".join(settings_of(systemd_unit(service()), "ExecStartPre"))
    assert settings_of(systemd_unit(cpu_service()), "ExecStartPre") == []


def test_a_port_below_1024_needs_its_capability() -> None:
    assert settings_of(systemd_unit(service()), "CapabilityBoundingSet") == [""]
    unit = systemd_unit(service(port=80))
    assert settings_of(unit, "CapabilityBoundingSet") == ["CAP_NET_BIND_SERVICE"]


@pytest.mark.parametrize("bad", ["a\0b", "\udcff"])
def test_what_no_unit_can_hold_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="has no form for"):
        systemd_unit(service(vllm_args=(bad,)))
    with pytest.raises(UsageError, match="would not read all of"):
        systemd_unit(service(plan_file=Path("/etc/plan\\")))

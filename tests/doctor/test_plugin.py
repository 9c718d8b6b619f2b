"""Whether vLLM will find the plugin and understand its variables."""

import pytest

from hetctl.doctor import plugin
from tests.doctor.surroundings import surroundings
from vllm_hetero import env, version


def test_this_installation_passes() -> None:
    around = surroundings()
    for check in (plugin.vllm_version, plugin.importable, plugin.registered, plugin.variables):
        assert check(around).status == "pass"


def test_another_vllm_fails_unless_the_user_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "TESTED_VLLM", "0.99.0")
    monkeypatch.setattr(plugin, "TESTED_VLLM", "0.99.0")
    refused = plugin.vllm_version(surroundings())
    assert refused.status == "fail"
    assert "install vllm==0.99.0" in refused.remedy
    monkeypatch.setenv(env.ANY_VLLM, "1")
    assert plugin.vllm_version(surroundings()).status == "warn"


def test_a_list_of_plugins_without_ours_is_found() -> None:
    assert plugin.registered(surroundings(VLLM_PLUGINS="other,hetero")).status == "pass"
    left_out = plugin.registered(surroundings(VLLM_PLUGINS="other"))
    assert left_out.status == "fail"
    assert "VLLM_PLUGINS=other" in left_out.detail


@pytest.mark.parametrize(
    ("variable", "value", "status", "said"),
    [
        (env.HOP, "shm", "pass", env.HOP),
        (env.HOP, "carrier-pigeon", "fail", "use shm or gloo"),
        (env.CPU_KV_CACHE_BYTES, "4GiB", "fail", "is no number of bytes"),
        (env.STALL_TIMEOUT_S, "soon", "fail", "is no number of seconds"),
        (env.SCHEDULER, "mine", "fail", "use hetero or vllm"),
        (env.RANK_MAP, "{}", "fail", "rank map"),
        (env.ROLE, "cpu", "fail", "only a rank's own process"),
        ("VLLM_HETERO_HOPP", "shm", "warn", "is no variable of the plugin"),
    ],
)
def test_variables_of_the_plugin_are_read_as_it_reads_them(
    variable: str, value: str, status: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    found = plugin.variables(surroundings(**{variable: value}))
    assert found.status == status
    assert said in found.detail


def test_it_tells_whether_a_vllm_of_this_shell_would_be_heterogeneous() -> None:
    assert plugin.active(surroundings()).status == "skipped"
    assert plugin.active(surroundings(**{env.PLATFORM: "1"})).status == "pass"
    assert plugin.active(surroundings(**{env.PLATFORM: "true"})).status == "warn"

"""Binding memory to a node is really tried, also where the kernel refuses it."""

import platform
import subprocess
import sys

import pytest

from hetctl.doctor import numa
from tests.doctor.surroundings import surroundings
from tests.planner.machines import node

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="CPU ranks are x86-64's")

# As a container's seccomp profile does: mbind (237) and set_mempolicy (238) answer EPERM.
REFUSE = """
import ctypes, struct, sys
from hetctl.doctor import numa
from tests.doctor.surroundings import surroundings

LOAD_NUMBER, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ANSWER_EPERM = 0x7FFF0000, 0x00050001
program = [
    (LOAD_NUMBER, 0, 0, 0),
    (IF_EQUAL, 1, 0, 237),
    (IF_EQUAL, 0, 1, 238),
    (RETURN, 0, 0, ANSWER_EPERM),
    (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "no_new_privs"
assert libc.prctl(22, 2, filter) == 0, "seccomp"
for nodes in (1, 2):
    for check in (numa.set_mempolicy, numa.mbind):
        found = check(surroundings(nodes=nodes))
        print(found.status, found.detail, found.remedy, sep="|")
"""


def test_a_container_that_refuses_is_told_how_to_allow_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSE], capture_output=True, text=True, timeout=60, check=False
    )
    if "AssertionError: seccomp" in done.stderr:
        pytest.skip("this system has no seccomp filters")
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert [status for status, _, _ in lines] == ["warn", "warn", "fail", "fail"]
    for (_, detail, remedy), name in zip(lines, ("set_mempolicy", "mbind") * 2, strict=True):
        assert detail.startswith(f"{name} for node 0: Operation not permitted")
        assert "--cap-add SYS_NICE" in remedy


def test_a_kernel_that_accepts_a_binding_and_ignores_it_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numa, "_syscall", lambda *arguments: 0)
    found = numa.mbind(surroundings())
    assert found.status == "warn"
    assert "the kernel knows no NUMA" in found.detail


def test_a_node_that_is_not_there_is_refused_by_the_kernel() -> None:
    for check in (numa.set_mempolicy, numa.mbind):
        found = check(surroundings(nodes=[node(1000)]))
        assert found.status == "warn"
        assert "node 1000" in found.detail


def test_binding_leaves_no_policy_behind() -> None:
    """The check's thread had the policy; this one has none."""
    from threading import Thread

    check = Thread(target=numa.set_mempolicy, args=(surroundings(),))
    check.start()
    check.join()
    import ctypes

    mode = ctypes.c_int(-1)
    number = numa._SYSCALLS["x86_64"][2]
    assert numa._syscall(number, ctypes.addressof(mode), 0, 0, 0, 0) in (0, 38)
    assert mode.value in (0, -1)

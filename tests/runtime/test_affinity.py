"""Processes and memory are bound, or it is said why not; each in a process of its own."""

import os
import subprocess
import sys

import pytest

if len(os.sched_getaffinity(0)) < 2:
    pytest.skip("binding shows only with two CPUs", allow_module_level=True)

CHILDREN = """
import os, subprocess, sys, threading
from vllm_hetero.affinity import bind_process, children_bound_to

ALLOWED = os.sched_getaffinity(0)
first, *_, last = sorted(ALLOWED)
SHOW = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]

def child():
    return {int(cpu) for cpu in subprocess.run(SHOW, stdout=-1, check=True).stdout.split()}

with children_bound_to({last}):
    assert child() == {last}
assert os.sched_getaffinity(0) == ALLOWED
with children_bound_to(()):
    assert child() == ALLOWED
with children_bound_to({4096}):
    assert child() == ALLOWED, "a CPU that is not there must not stop the start"

started, bound, end = threading.Event(), [], threading.Event()
def other():
    started.set()
    end.wait()
    bound.append(os.sched_getaffinity(0))
thread = threading.Thread(target=other)
thread.start()
started.wait()
bind_process({first})
end.set()
thread.join()
assert bound == [{first}]
assert os.sched_getaffinity(0) == {first}
"""

# As Docker's default profile does: the four NUMA system calls answer EPERM.
REFUSED = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
LOAD, JEQ, RET, ALLOW, EPERM = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050001
calls = (237, 238, 239, 256)
rules = [(LOAD, 0, 0, 0), *((JEQ, len(calls) - i, 0, call) for i, call in enumerate(calls)),
         (RET, 0, 0, ALLOW), (RET, 0, 0, EPERM)]
code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
buffer = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(buffer)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0
"""

DESCRIBE = """
from vllm_hetero.compute_threads import describe
from vllm_hetero.rank_map import Rank
print(describe(Rank(0, "cpu", cpus=(0, 1), numa_node=0), 2))
"""

BIND = """
import ctypes
numa = ctypes.CDLL("libnuma.so.1")
numa.numa_parse_nodestring.restype = ctypes.c_void_p
numa.numa_set_membind(ctypes.c_void_p(numa.numa_parse_nodestring(b"0")))
"""

INTERLEAVE = BIND.replace("numa_set_membind", "numa_set_interleave_mask")


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_children_and_threads_are_bound_and_the_starter_is_as_before() -> None:
    run(CHILDREN)


def test_the_log_says_where_a_rank_computes_and_where_its_memory_is() -> None:
    said = run(BIND + DESCRIBE)
    assert said == "2 compute threads on CPUs 0-1 for NUMA node 0; memory bound to NUMA node 0"


def test_the_log_says_that_memory_comes_from_several_nodes_in_turn() -> None:
    assert run(INTERLEAVE + DESCRIBE).endswith("memory interleaved over NUMA nodes 0")


def test_the_log_says_that_memory_is_not_bound() -> None:
    assert run(DESCRIBE).endswith("memory not bound to a node (no policy is set)")


def test_a_container_that_refuses_numa_calls_costs_one_remark() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the filter is for x86_64")
    said = run(REFUSED + BIND + DESCRIBE)
    assert "not bound to a node (the kernel or the container refuses it: Operation not" in said

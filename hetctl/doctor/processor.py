"""The CPU as the system drives it: clocks, SMT and shares of its time."""

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, passed, skipped, warned

_CPUFREQ = "/sys/devices/system/cpu/cpufreq"


def governor(surroundings: Surroundings) -> Outcome:
    files = surroundings.files
    policies = [name for name in files.names(_CPUFREQ) if name.startswith("policy")]
    found = {files.text(f"{_CPUFREQ}/{policy}/scaling_governor") for policy in policies} - {None}
    if not found:
        return skipped("the system shows none (a virtual machine leaves it to its host)")
    names = ", ".join(sorted(name for name in found if name))
    if found == {"performance"}:
        return passed(names)
    return warned(
        f"{names}: cores may take milliseconds to speed up, once per step",
        "cpupower frequency-set -g performance (as root, on the host).",
    )


def smt(surroundings: Surroundings) -> Outcome:
    cores = [core for node in surroundings.machine.numa_nodes for core in node.cores]
    threads = max((len(core.cpus) for core in cores), default=1)
    if threads > 1:
        return passed(f"on, {threads} threads a core; CPU ranks compute with one of each core")
    return passed("off, or not visible: each CPU counts as a core")


def cpu_time(surroundings: Surroundings) -> Outcome:
    """A cgroup's quota stops all threads of a rank at once, in the middle of a step."""
    machine = surroundings.machine
    cpus = sum(len(node.cpus) for node in machine.numa_nodes)
    quota = machine.cpu.cpu_quota
    if quota is not None and quota < cpus:
        return warned(
            f"a quota of {quota:g} CPUs over {cpus}: ranks are stopped in the middle of steps",
            "Give whole CPUs instead of a quota (docker run --cpuset-cpus; Kubernetes: the static "
            "CPU manager policy).",
        )
    return passed(f"{cpus} CPUs without a quota" if quota is None else f"{quota:g} CPUs")


_GROUP = "processor"
CHECKS = (
    Check(_GROUP, "governor", governor),
    Check(_GROUP, "SMT", smt),
    Check(_GROUP, "CPU time", cpu_time),
)

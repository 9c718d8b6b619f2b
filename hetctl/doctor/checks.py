"""Every check, in the order of the report, and the examination as a whole."""

from collections.abc import Callable
from pathlib import Path

from hetctl.doctor import cpu_kernels, gpu, hub, limits, numa, pci, plugin, processor
from hetctl.doctor.check import Surroundings
from hetctl.doctor.diagnosis import Diagnosis, Finding, skipped
from hetctl.doctor.engine import GROUP as ENGINE
from hetctl.doctor.engine import check_engine
from hetctl.doctor.examination import examine
from hetctl.doctor.ranks import GROUP as RANKS
from hetctl.doctor.ranks import check_ranks

FAST = (
    *plugin.CHECKS,
    *gpu.CHECKS,
    *cpu_kernels.CHECKS,
    *numa.CHECKS,
    *limits.CHECKS,
    *processor.CHECKS,
    *pci.CHECKS,
    *hub.CHECKS,
)
_NEEDED = {("plugin", "vLLM version"), ("plugin", "importable"), ("CPU ranks", "kernels")}


def diagnose(
    surroundings: Surroundings,
    progress: Callable[[str], None],
    *,
    ranks: bool = True,
    engine_log: Path | None = None,
) -> Diagnosis:
    """Run the checks.

    Args:
        progress: Told what is being waited for.
        ranks: Also start two ranks, which takes about ten seconds.
        engine_log: Also start an engine, whose output goes there.
    """
    findings = examine(FAST, surroundings, progress)
    if ranks:
        findings += _after(findings, RANKS, lambda: check_ranks(surroundings, progress))
    if engine_log is not None:
        log = engine_log
        findings += _after(findings, ENGINE, lambda: check_engine(surroundings, progress, log))
    return Diagnosis(findings=findings)


def _after(
    findings: tuple[Finding, ...], group: str, check: Callable[[], tuple[Finding, ...]]
) -> tuple[Finding, ...]:
    """Nothing is started where it is known already that it cannot."""
    for finding in findings:
        if (finding.group, finding.name) in _NEEDED and finding.status != "pass":
            why = skipped(f"not started: {finding.group}, {finding.name} comes first")
            return (Finding(group=group, name="start", **dict(why)),)
    return check()

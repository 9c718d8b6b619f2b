"""The two ranks of ``hetctl doctor``, with torch, vLLM and the runtime's own hops."""

import os

import pytest

from hetctl.doctor.check import Surroundings
from hetctl.doctor.ranks import check_ranks
from hetctl.probe.files import Files
from hetctl.probe.machine import probe_machine

# No engine, but torch and vLLM are imported twice.
pytestmark = pytest.mark.engine


def test_two_cpu_ranks_send_a_message_there_and_back_over_both_hops() -> None:
    machine = probe_machine().model_copy(update={"gpus": ()})
    told: list[str] = []
    found = check_ranks(Surroundings(machine, Files(), os.environ), told.append, timeout_s=120)
    assert {finding.name: finding.status for finding in found} == {
        "platform": "pass",
        "kernels load": "pass",
        "pinned memory": "skipped",
        "Gloo": "pass",
        "shared memory": "pass",
    }, found

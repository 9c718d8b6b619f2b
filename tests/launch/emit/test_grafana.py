"""``--emit grafana``: the dashboard, which needs nothing of a server; the others do."""

import json

import pytest

from hetctl.launch.emit.target import Target
from hetctl.launch.emit.writers import emitted, fixed_file
from tests.launch.emit.samples import service


def test_the_dashboard_needs_no_settings() -> None:
    text = fixed_file(Target.GRAFANA)
    assert text is not None
    assert text.endswith("}\n")
    assert json.loads(text)["panels"]


@pytest.mark.parametrize("target", [target for target in Target if target is not Target.GRAFANA])
def test_each_other_file_is_of_one_server(target: Target) -> None:
    assert fixed_file(target) is None
    assert emitted(target, service(port=8123)) != emitted(target, service(port=8124))

"""How a user turns the scheduler off, sets its target, or brings another."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

from vllm.config.scheduler import SchedulerConfig

from vllm_hetero import env
from vllm_hetero.engine_config import SCHEDULER, _set_scheduler, check_variables
from vllm_hetero.scheduling.scheduler import HeterogeneousScheduler


def configured(**kwargs: Any) -> SchedulerConfig:
    config = SchedulerConfig.default_factory(**kwargs)
    _set_scheduler(SimpleNamespace(scheduler_config=config))  # type: ignore[arg-type]
    return config


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env.SCHEDULER, raising=False)
    monkeypatch.delenv(env.MAX_STALL_S, raising=False)


def test_ours_is_the_default_and_can_be_found() -> None:
    config = configured()
    assert config.scheduler_cls == SCHEDULER
    assert config.get_scheduler_cls() is HeterogeneousScheduler
    assert env.max_stall_s() == 0.5


def test_vllms_own_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.SCHEDULER, "vllm")
    assert configured().scheduler_cls is None


def test_a_scheduler_of_the_users_is_left() -> None:
    own = "vllm.v1.core.sched.scheduler.Scheduler"
    assert configured(scheduler_cls=own).scheduler_cls == own


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_a_target_that_is_no_time_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.MAX_STALL_S, value)
    with pytest.raises(ValueError, match=f"VLLM_HETERO_MAX_STALL_S={value!r} is no number of"):
        check_variables()


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.SCHEDULER, "fifo")
    with pytest.raises(ValueError, match="fifo is not known; use hetero or vllm"):
        configured()

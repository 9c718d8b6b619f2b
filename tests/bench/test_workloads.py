"""Workloads by name, and the loads of their points."""

import pytest

from hetctl.bench.chat import lengths
from hetctl.bench.workloads import (
    WORKLOADS,
    Sampling,
    asked_output_tokens,
    find_workload,
    loads,
    longest_request,
)
from hetctl.errors import UsageError


def test_vllm_hybrids_own_is_500_prompts_of_128_and_128() -> None:
    (load,) = loads(find_workload("vllm-hybrid"), (8,), (None,), Sampling())
    assert (load.num_prompts, load.input_len, load.output_len) == (500, 128, 128)
    assert (load.workload, load.dataset) == ("vllm-hybrid", "random")


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_makes_loads_that_fit_its_dataset(name: str) -> None:
    workload = find_workload(name)
    for load in loads(workload, (1, 2, 64), (None,), Sampling()):
        assert load.num_prompts % load.num_prefixes == 0
        assert load.prefix_len < load.input_len
        assert (load.prefix_len > 0) == (load.dataset == "prefix_repetition")


def test_lengths_can_be_chosen_and_a_shared_prefix_keeps_its_share() -> None:
    workload = find_workload("shared-prefix", input_len=128, output_len=16)
    assert (workload.input_len, workload.prefix_len, workload.output_len) == (128, 112, 16)
    assert find_workload("long-prompt", output_len=1).input_len == 4096


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(
        UsageError, match="no workload 'talk'; --workload takes one of random, vllm"
    ):
        find_workload("talk")
    with pytest.raises(UsageError, match="The workload chat draws its lengths"):
        find_workload("chat", output_len=7)
    with pytest.raises(UsageError, match="--input-len 1 leaves no room for a shared prefix"):
        find_workload("shared-prefix", input_len=1)
    with pytest.raises(UsageError, match=r"10 is not a multiple of the 4 prefixes .* take 12"):
        loads(find_workload("shared-prefix"), (1,), (None,), Sampling(num_prompts=10))


def test_each_point_has_prompts_of_its_own_and_more_of_them_under_more_load() -> None:
    found = loads(find_workload("random"), (1, 4, 16), (None,), Sampling(seed=5))
    assert [load.seed for load in found] == [5, 6, 7]
    assert [load.num_prompts for load in found] == [8, 16, 64]
    assert [load.point for load in found] == ["c1", "c4", "c16"]


def test_as_many_warm_ups_as_run_at_a_time_unless_told_otherwise() -> None:
    """Kernels for a number of sequences are made when it first occurs."""
    workload = find_workload("random")
    found = loads(workload, (1, 4, 64), (None,), Sampling())
    assert [load.num_warmups for load in found] == [2, 4, 64]
    assert [load.num_warmups for load in loads(workload, (None,), (2.0,), Sampling())] == [8]
    assert loads(workload, (64,), (None,), Sampling(num_warmups=0))[0].num_warmups == 0


def test_an_open_loop_sends_for_half_a_minute() -> None:
    found = loads(find_workload("random"), (None,), (0.1, 2.0), Sampling(burstiness=0.5))
    assert [(load.point, load.num_prompts) for load in found] == [("r0.1", 8), ("r2", 60)]
    assert {load.burstiness for load in found} == {0.5}


def test_the_longest_request_and_the_tokens_asked_for_are_known_before() -> None:
    (fixed,) = loads(find_workload("random"), (8,), (None,), Sampling())
    assert (longest_request(fixed), asked_output_tokens(fixed)) == (640, 32 * 128)
    (chat,) = loads(find_workload("chat"), (8,), (None,), Sampling(seed=3))
    drawn = lengths(3, chat.num_prompts)
    assert longest_request(chat) == max(prompt + answer for prompt, answer in drawn)
    assert asked_output_tokens(chat) == sum(answer for _, answer in drawn)

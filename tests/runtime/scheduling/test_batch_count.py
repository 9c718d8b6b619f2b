"""The choice of the number of batches, from cycle times alone."""

import random
from collections.abc import Callable

import pytest

from vllm_hetero.scheduling.batch_count import KEPT_CYCLES, RETRY_CYCLES, BatchCount

Cycle = Callable[[int, int], float]


def weight_bound(count: int, tokens: int) -> float:
    """A CPU stage of 57 ms beside a GPU stage of 4 ms."""
    return 0.061 + 0.001 * tokens if count == 1 else 0.057 * count + 0.001 * tokens


def compute_bound(count: int, tokens: int) -> float:
    """Two equal stages that need 3 ms a token."""
    return 2 * (0.01 + 0.003 * tokens) if count == 1 else 2 * (0.01 + 0.003 * tokens / 2)


def settle(choice: BatchCount, cycle: Cycle, tokens: int, cycles: int = 12) -> list[int]:
    """Let the choice see ``cycles`` cycles of the counts that it asks for."""
    asked = []
    for _ in range(cycles):
        asked.append(choice.choose(tokens))
        choice.observe(asked[-1], tokens, cycle(asked[-1], tokens))
    return asked


def test_small_decode_batches_stay_whole_where_weights_are_what_costs() -> None:
    assert settle(BatchCount(2), weight_bound, 8)[-1] == 1


def test_decodes_are_divided_where_equal_stages_compute() -> None:
    assert settle(BatchCount(2), compute_bound, 64)[-1] == 2


def test_vllms_own_way_comes_first_and_every_count_is_tried() -> None:
    asked = settle(BatchCount(3), weight_bound, 9)
    assert asked[0] == 3
    assert set(asked) == {1, 2, 3}


def test_one_size_of_batch_says_nothing_of_another() -> None:
    choice = BatchCount(2)
    settle(choice, weight_bound, 4)
    assert settle(choice, compute_bound, 64)[-1] == 2
    assert choice.choose(4) == 1


def test_noise_and_single_outliers_do_not_turn_the_choice() -> None:
    noise = random.Random(7)
    choice = BatchCount(2)

    def noisy(count: int, tokens: int) -> float:
        slow = 3.0 if noise.random() < 0.05 else 0.0
        return weight_bound(count, tokens) * noise.lognormvariate(0, 0.1) + slow

    asked = settle(choice, noisy, 8, cycles=400)
    assert asked[10:].count(2) < 20


def test_equal_times_do_not_make_it_switch() -> None:
    noise = random.Random(7)
    choice = BatchCount(2)
    asked = settle(choice, lambda count, tokens: noise.gauss(0.1, 0.001), 8, cycles=200)
    assert len(set(asked[10:])) == 1


def test_what_lost_is_tried_again_as_machines_change() -> None:
    choice = BatchCount(2)
    settle(choice, weight_bound, 64)
    assert choice.choose(64) == 1
    # The other count became faster, which only a trial can show.
    asked = settle(
        choice,
        lambda count, tokens: 0.05 if count == 2 else weight_bound(1, tokens),
        64,
        cycles=RETRY_CYCLES + 20,
    )
    assert asked[-1] == 2
    assert set(asked[: RETRY_CYCLES - 20]) == {1}


def test_what_won_is_left_as_soon_as_it_is_slower() -> None:
    choice = BatchCount(2)
    settle(choice, weight_bound, 64)
    assert settle(choice, compute_bound, 64)[-1] == 2


def test_a_count_that_gives_no_measurement_is_given_up() -> None:
    """One request cannot be split over two batches: only one batch is ever observed."""
    choice = BatchCount(2)
    asked = []
    for _ in range(200):
        asked.append(choice.choose(1))
        choice.observe(1, 1, 0.06)
    assert asked[-1] == 1


@pytest.mark.parametrize("tokens", [1, 2, 3, 1000, 1 << 20])
def test_nothing_known_is_vllms_own_way(tokens: int) -> None:
    choice = BatchCount(4)
    assert choice.choose(tokens) == 4
    assert choice.cycle_s(4, tokens) is None


def test_memory_is_bounded() -> None:
    choice = BatchCount(2)
    for i in range(20_000):
        choice.observe(1 + i % 2, 1 + i % 4096, 0.1)
    kept = [len(arm.cycles) for arm in choice._arms.values()]
    assert len(kept) <= 2 * 13
    assert max(kept) <= KEPT_CYCLES


def test_times_between_known_sizes_are_between_their_times() -> None:
    choice = BatchCount(1)
    for tokens in (8, 32, 64):
        settle(choice, lambda count, tokens: 0.05 + 0.001 * tokens, tokens)
    assert choice.cycle_s(1, 50) == pytest.approx(0.1)
    assert choice.cycle_s(1, 12) is None

"""Dummy weights: random-looking, in range, and the same however many threads fill them."""

import pytest
import torch

from vllm_hetero.dummy_weights import TILE_ELEMENTS, fill


def filled(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    weight = torch.full(shape, 7.0).to(dtype)
    fill(weight, -1e-3, 1e-3)
    return weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_are_spread_over_the_range(dtype: torch.dtype) -> None:
    values = filled(3, TILE_ELEMENTS, dtype=dtype).float()
    # The smallest bfloat16 above 1e-3 rounds the limit up by less than this.
    assert values.abs().max() <= 1e-3 * (1 + 2**-8)
    assert abs(values.mean()) < 1e-5
    assert abs(values.std() - 2e-3 / 12**0.5) < 1e-5


def test_eight_bit_types_are_filled_from_wider_ones() -> None:
    values = filled(1000, dtype=torch.float8_e4m3fn).float()
    assert values.abs().max() <= 2**-9
    assert len(values.unique()) > 1


def test_no_two_rows_of_a_matrix_are_equal() -> None:
    weight = filled(2048, 1024, dtype=torch.float32)
    assert len(torch.unique(weight, dim=0)) == 2048


def test_the_number_of_threads_changes_nothing() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = filled(5, TILE_ELEMENTS // 2)
        torch.set_num_threads(4)
        four = filled(5, TILE_ELEMENTS // 2)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, four)


def test_a_shard_of_equal_size_and_type_holds_the_same_values() -> None:
    assert torch.equal(filled(64, 128).view(-1), filled(128, 64).view(-1))


def test_an_empty_weight_stays_empty() -> None:
    assert filled(0, 16).numel() == 0

import pytest

from hetctl.machine import Gpu, MigInstance
from hetctl.probe.visible_devices import select_visible
from hetctl.units import GIB


def _gpu(index: int, name: str = "NVIDIA L4") -> Gpu:
    return Gpu(
        index=index,
        name=name,
        uuid=f"GPU-{index}{index}aa",
        memory_total_bytes=24 * GIB,
        memory_free_bytes=23 * GIB,
    )


_FOUR = tuple(_gpu(index) for index in range(4))


def _visible(value: str | None, gpus: tuple[Gpu, ...] = _FOUR) -> tuple[list[int], list[str]]:
    notes: list[str] = []
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    return [gpu.index for gpu in select_visible(gpus, environment, notes)], notes


def test_without_the_variable_every_gpu_is_visible() -> None:
    assert _visible(None) == ([0, 1, 2, 3], [])


def test_all_of_them_listed_is_nothing_to_note() -> None:
    assert _visible("0,1,2,3") == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("value", ["3,1", "GPU-33aa,GPU-11aa", "GPU-33,1", " 3 , 1 "])
def test_indices_and_uuids_select_in_the_order_of_the_list(value: str) -> None:
    indices, notes = _visible(value)
    assert indices == [3, 1]
    assert len(notes) == 1
    assert "hides 2 of 4 GPUs" in notes[0]


@pytest.mark.parametrize("value", ["", " ", "-1", "NoDevFiles"])
def test_no_gpu_is_visible(value: str) -> None:
    indices, notes = _visible(value)
    assert indices == []
    assert "hides every GPU" in notes[-1]


def test_an_unknown_entry_hides_what_follows_as_in_cuda() -> None:
    indices, notes = _visible("0,7,1")
    assert indices == [0]
    assert "'7'" in notes[0]


def test_an_ambiguous_uuid_names_no_gpu() -> None:
    assert _visible("GPU-")[0] == []


def test_indices_on_mixed_gpus_warn_about_cudas_own_order() -> None:
    mixed = (_gpu(0), _gpu(1, "NVIDIA H200"))
    assert "CUDA_DEVICE_ORDER" in _visible("1", mixed)[1][-1]
    notes: list[str] = []
    select_visible(mixed, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, notes)
    assert not any("CUDA_DEVICE_ORDER" in note for note in notes)


def _mig_gpu(*sizes_gib: int) -> Gpu:
    instances = tuple(
        MigInstance(
            uuid=f"MIG-{number}bb",
            memory_total_bytes=size * GIB,
            memory_free_bytes=(size - 1) * GIB,
        )
        for number, size in enumerate(sizes_gib)
    )
    return _gpu(0).model_copy(update={"mig_enabled": True, "mig_instances": instances})


def test_mig_shows_the_first_instance() -> None:
    notes: list[str] = []
    (gpu,) = select_visible((_mig_gpu(10, 20),), {}, notes)
    assert gpu.memory_total_bytes == 10 * GIB
    assert gpu.memory_free_bytes == 9 * GIB
    assert "10.0 GiB" in notes[0]


def test_mig_shows_the_instance_that_is_named() -> None:
    (gpu,) = select_visible((_mig_gpu(10, 20),), {"CUDA_VISIBLE_DEVICES": "MIG-1bb"}, [])
    assert gpu.memory_total_bytes == 20 * GIB
    assert [instance.uuid for instance in gpu.mig_instances] == ["MIG-1bb"]


def test_mig_without_instances_is_unusable() -> None:
    notes: list[str] = []
    assert select_visible((_mig_gpu(),), {}, notes) == ()
    assert "CUDA cannot use it" in notes[0]

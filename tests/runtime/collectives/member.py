"""One member of a group of processes that tries every collective of a bridge.

Usage: python member.py SEGMENT LAYOUT ME STORE [cuda]

LAYOUT has a letter per member, ``g`` or ``c``: its device class. The classes are what the
bridge distinguishes; without ``cuda`` all members compute on the CPU, so that this runs
anywhere, and with it the one ``g`` has a GPU. Among themselves the members of a class use Gloo.
Each member knows all members' data and compares with a reference in float64; it exits with an
assertion's traceback or with 0.
"""

import os
import sys
from collections.abc import Sequence

import torch
import torch.distributed as dist

from vllm_hetero.collectives import bridge as bridge_module
from vllm_hetero.collectives.bridge import SLOTS, Bridge
from vllm_hetero.hops import segment

# Small, so that small tensors already need more slots than there are.
bridge_module.SLOT_BYTES = SLOT_BYTES = 1 << 16
SHAPES: tuple[tuple[int, ...], ...] = (
    (0, 64),
    (1, 64),
    (3, 5),
    (64, 256),
    (7, 2, 3),
    # More than all slots hold, and no multiple of one.
    (SLOTS * SLOT_BYTES // 256 * 3 + 1, 128),
)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
DEVICE = torch.device("cuda:0" if sys.argv[5:] == ["cuda"] else "cpu")


class GlooClass:
    """Collectives among the members of one class, in place as vLLM's for CPUs."""

    def __init__(self, ranks: list[int], group: dist.ProcessGroup) -> None:
        self._ranks, self._group = ranks, group

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(tensor, group=self._group)
        return tensor

    def all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        parts = [torch.empty_like(tensor) for _ in self._ranks]
        dist.all_gather(parts, tensor, group=self._group)
        return torch.cat(parts, dim)

    def broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        dist.broadcast(tensor, self._ranks[src], group=self._group)
        return tensor


def class_groups(layout: str) -> dict[str, GlooClass | None]:
    groups: dict[str, GlooClass | None] = {}
    for kind in "gc":
        ranks = [rank for rank, letter in enumerate(layout) if letter == kind]
        group = dist.new_group(ranks)
        groups[kind] = GlooClass(ranks, group) if len(ranks) > 1 else None
    return groups


def data(shape: Sequence[int], dtype: torch.dtype, member: int, salt: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * salt + member)
    return torch.randn(tuple(shape), generator=generator).to(dtype).to(DEVICE)


def same_everywhere(tensor: torch.Tensor, members: int) -> bool:
    tensor = tensor.cpu()
    parts = [torch.empty_like(tensor) for _ in range(members)]
    dist.all_gather(parts, tensor)
    return all(torch.equal(part, tensor) for part in parts)


def check_all(bridge: Bridge, members: int, me: int) -> None:
    for salt, shape in enumerate(SHAPES):
        for dtype in DTYPES:
            everyone = [data(shape, dtype, member, salt) for member in range(members)]
            mine = everyone[me].clone()
            total = bridge.all_reduce(mine)
            reference = torch.stack([part.double() for part in everyone]).sum(0)
            # Each of the additions rounds once.
            tolerance = members * torch.finfo(dtype).eps * 4
            torch.testing.assert_close(total.double(), reference, rtol=tolerance, atol=tolerance)
            assert torch.equal(mine, everyone[me]), "the input was changed"
            assert same_everywhere(total, members)
            for dim in (0, -1):
                gathered = bridge.all_gather(mine, dim)
                assert torch.equal(gathered, torch.cat(everyone, dim))
            for src in range(members):
                received = bridge.broadcast(mine.clone(), src)
                assert torch.equal(received, everyone[src])
    transposed = data((6, 4), torch.float32, me, 99).t()
    expected = sum(data((6, 4), torch.float32, m, 99).double() for m in range(members))
    assert torch.allclose(bridge.all_reduce(transposed).double(), expected.t(), atol=1e-5)
    tokens = torch.full((5, 1), me, dtype=torch.int32, device=DEVICE).expand(5, 3)[:, :1]
    assert bridge.broadcast(tokens.clone(), 0).eq(0).all()


def rehearse(bridge: Bridge, members: int, me: int) -> None:
    """Members of one class do what the other class does not; nobody waits."""
    with bridge.rehearsal():
        for _ in range(3 + 5 * (me == 0)):
            assert bridge.all_gather(torch.ones(2, 4, device=DEVICE), -1).shape == (2, 4 * members)


def main() -> None:
    name, layout, me, store = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    members = len(layout)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=me, world_size=members)
    peers = class_groups(layout)[layout[me]]
    mapping = segment.attach(name, keep_name=True)
    dist.barrier()
    on_gpu = [letter == "g" for letter in layout]
    bridge = Bridge(mapping, on_gpu, me, os.getpid(), DEVICE, peers)
    if peers is None:
        rehearse(bridge, members, me)
    check_all(bridge, members, me)
    # A member that ends while another waits for it is noticed.
    dist.barrier()
    if me == members - 1:
        os._exit(0)
    if layout[me] != layout[-1]:
        try:
            bridge.all_gather(torch.ones(1, device=DEVICE), 0)
        except RuntimeError as error:
            assert "has ended" in str(error), error  # noqa: PT017
        else:
            raise AssertionError("nobody noticed that a member ended")
    os._exit(0)


if __name__ == "__main__":
    main()

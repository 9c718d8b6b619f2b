"""Builds ``/proc`` and ``/sys`` trees of machines that no test machine is."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from hetctl.probe.cpu_list import format_cpu_list
from hetctl.probe.files import Files
from hetctl.probe.gpu import GpuInventory, GpuLibraryError
from hetctl.probe.machine import Sources

KIB_PER_GIB = 1024**2


class MachineTree:
    """Files under a temporary root. Every method adds to what is there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.online: list[int] = []

    def write(self, path: str, text: object) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def cores(
        self, cores: Iterable[tuple[int, ...]], *, socket: int = 0, sysfs: bool = True
    ) -> None:
        """Cores given as tuples of SMT siblings, all of one socket."""
        for siblings in cores:
            for cpu in siblings:
                self.online.append(cpu)
                folder = f"/sys/devices/system/cpu/cpu{cpu}"
                if not sysfs:
                    continue
                self.write(f"{folder}/topology/thread_siblings_list", format_cpu_list(siblings))
                self.write(f"{folder}/topology/physical_package_id", socket)
        self.write("/sys/devices/system/cpu/online", format_cpu_list(self.online))

    def cache(self, cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> None:
        folder = f"/sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
        for name, text in {
            "level": level,
            "type": kind,
            "size": size,
            "shared_cpu_list": shared,
        }.items():
            self.write(f"{folder}/{name}", text)

    def cpuinfo(self, fields: Mapping[str, str], count: int = 1) -> None:
        """``count`` equal records."""
        lines = "\n".join(f"{name}\t: {text}" for name, text in fields.items())
        records = (f"processor\t: {number}\n{lines}\n" for number in range(count))
        self.write("/proc/cpuinfo", "\n".join(records))

    def meminfo(self, total_gib: float, available_gib: float) -> None:
        self.write(
            "/proc/meminfo",
            f"MemTotal: {total_gib * KIB_PER_GIB:.0f} kB\n"
            f"MemFree: 1 kB\n"
            f"MemAvailable: {available_gib * KIB_PER_GIB:.0f} kB",
        )

    def node(
        self,
        node: int,
        cpus: str,
        total_gib: float,
        free_gib: float,
        *,
        page_cache_gib: float = 0,
        distance: str = "10",
    ) -> None:
        folder = f"/sys/devices/system/node/node{node}"
        self.write(f"{folder}/cpulist", cpus)
        self.write(f"{folder}/distance", distance)
        amounts = {
            "MemTotal": total_gib,
            "MemFree": free_gib,
            "Inactive(file)": page_cache_gib,
        }
        self.write(
            f"{folder}/meminfo",
            "\n".join(f"Node {node} {k}: {v * KIB_PER_GIB:.0f} kB" for k, v in amounts.items()),
        )
        nodes = {*self._nodes(), node}
        self.write("/sys/devices/system/node/online", format_cpu_list(nodes))

    def _nodes(self) -> Iterable[int]:
        folders = (self.root / "sys/devices/system/node").glob("node*")
        return (int(folder.name.removeprefix("node")) for folder in folders)

    def huge_pages(self, node: int, size_kib: int, total: int, free: int) -> None:
        folder = f"/sys/devices/system/node/node{node}/hugepages/hugepages-{size_kib}kB"
        self.write(f"{folder}/nr_hugepages", total)
        self.write(f"{folder}/free_hugepages", free)

    def cgroup_v2(self, group: str, *, mount_root: str = "/") -> None:
        """Mount version 2 and put this process into ``group``."""
        self.write("/proc/self/cgroup", f"0::{group}")
        self.write(
            "/proc/self/mountinfo",
            "22 27 0:21 / /proc rw - proc proc rw\n"
            f"32 23 0:28 {mount_root} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw",
        )

    def limit(self, group: str, **limits: object) -> None:
        """Files of a version 2 group; an underscore in a name stands for a dot."""
        for name, text in limits.items():
            self.write(f"/sys/fs/cgroup{group}/{name.replace('_', '.')}", text)

    def files(self) -> Files:
        return Files(self.root)

    def sources(
        self,
        *,
        affinity: Iterable[int] | None = None,
        gpus: "FakeGpuLibrary | None" = None,
        environment: Mapping[str, str] | None = None,
        architecture: str = "x86_64",
    ) -> Sources:
        """Sources that read this tree; without ``affinity`` every online CPU is allowed."""
        return Sources(
            affinity=frozenset(self.online if affinity is None else affinity),
            files=self.files(),
            gpu_library=gpus or FakeGpuLibrary(),
            environment=environment or {},
            architecture=architecture,
            fallback_flags=frozenset,
        )


class FakeGpuLibrary:
    """Replays a recorded inventory, or the failure to read one."""

    def __init__(self, inventory: GpuInventory | None = None, error: str = "") -> None:
        self._inventory = inventory or GpuInventory()
        self._error = error

    def read(self) -> GpuInventory:
        if self._error:
            raise GpuLibraryError(self._error)
        return self._inventory


def recorded_gpus(name: str) -> GpuInventory:
    """An inventory recorded in ``fixtures``."""
    path = Path(__file__).parent / "fixtures" / f"{name}.json"
    return GpuInventory.model_validate_json(path.read_text())

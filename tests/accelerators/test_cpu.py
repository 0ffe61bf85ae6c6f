"""Cores and memory, as control groups of either version allow them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shoal.accelerators.cgroup import Limits
from shoal.accelerators.cpu import CpuAccelerator

GIB = 1 << 30
MEMINFO = f"MemTotal:  {16 * GIB // 1024} kB\nMemFree:  1 kB\nMemAvailable: {6 * GIB // 1024} kB\n"


def machine(base: Path, membership: str, **files: str | int) -> Limits:
    """Make the folders of a machine; a file's name has `__` for a slash and `_dot_` for a dot."""
    (base / "proc" / "self").mkdir(parents=True)
    (base / "proc" / "meminfo").write_text(MEMINFO)
    (base / "proc" / "self" / "cgroup").write_text(membership)
    (base / "groups").mkdir()
    for name, text in files.items():
        path = base / "groups" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return Limits(groups=str(base / "groups"), proc=str(base / "proc"))


def test_no_limit_at_all(tmp_path: Path) -> None:
    limits = machine(tmp_path, "0::/\n", cpu_dot_max="max 100000", memory_dot_max="max")
    assert limits.cpus() is None
    assert limits.memory() == 16 * GIB
    assert limits.memory_used() == 10 * GIB


def test_the_tightest_group_up_to_the_root_counts(tmp_path: Path) -> None:
    limits = machine(
        tmp_path,
        "0::/outer/inner\n",
        outer__cpu_dot_max="150000 100000",
        outer__inner__cpu_dot_max="400000 100000",
        outer__memory_dot_max=4 * GIB,
        outer__memory_dot_current=3 * GIB,
        outer__memory_dot_stat=f"anon 5\ninactive_file {GIB}",
        outer__inner__memory_dot_max=8 * GIB,
    )
    assert limits.cpus() == 1.5
    assert limits.memory() == 4 * GIB
    assert limits.memory_used() == 2 * GIB


def test_version_one(tmp_path: Path) -> None:
    limits = machine(
        tmp_path,
        "4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n",
        **{
            "cpu,cpuacct__job__cpu_dot_cfs_quota_us": 250_000,
            "cpu,cpuacct__job__cpu_dot_cfs_period_us": 100_000,
        },
        memory__job__memory_dot_limit_in_bytes=2 * GIB,
        memory__job__memory_dot_usage_in_bytes=GIB,
        memory__job__memory_dot_stat="total_inactive_file 1024",
        memory__memory_dot_limit_in_bytes=9223372036854771712,
    )
    assert limits.cpus() == 2.5
    assert limits.memory() == 2 * GIB
    assert limits.memory_used() == GIB - 1024


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    limits = machine(
        tmp_path,
        "3:cpu:/docker/0123\n",
        cpu__cpu_dot_cfs_quota_us=50_000,
        cpu__cpu_dot_cfs_period_us=100_000,
    )
    assert limits.cpus() == 0.5


def test_minus_one_is_no_limit(tmp_path: Path) -> None:
    limits = machine(tmp_path, "3:cpu:/\n", cpu__cpu_dot_cfs_quota_us=-1, cpu__cpu_dot_cfs_period_us=100_000)
    assert limits.cpus() is None


def test_a_machine_without_groups(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    limits = Limits(groups=str(tmp_path / "none"), proc=str(tmp_path))
    assert limits.cpus() is None
    assert limits.memory() == 16 * GIB


@pytest.mark.parametrize(("quota", "count"), [(50_000, 1), (100_000, 1), (190_000, 1), (10_000_000, None)])
def test_cores_are_whole_and_at_least_one(tmp_path: Path, quota: int, count: int | None) -> None:
    limits = machine(tmp_path, "0::/\n", cpu_dot_max=f"{quota} 100000")
    allowed = len(os.sched_getaffinity(0))
    assert CpuAccelerator(limits).quantity(CpuAccelerator(limits).detect()) == (count or allowed)


def test_affinity_is_obeyed() -> None:
    before = os.sched_getaffinity(0)
    one = max(before)
    os.sched_setaffinity(0, {one})
    try:
        assert [device.id for device in CpuAccelerator(Limits(groups="/none")).detect()] == [str(one)]
    finally:
        os.sched_setaffinity(0, before)


def test_libraries_learn_how_many_threads_to_start() -> None:
    assert CpuAccelerator().environment(["0", "1", "2"]) == {"OMP_NUM_THREADS": "3"}
    assert CpuAccelerator().environment([]) == {"OMP_NUM_THREADS": "1"}


def test_the_real_machine_has_memory() -> None:
    accelerator = CpuAccelerator()
    assert 0 < accelerator.memory_used() < accelerator.memory()

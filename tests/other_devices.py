"""Folders as the driver of AMD's devices lays them out in /sys."""

from __future__ import annotations

from pathlib import Path

GIB = 1 << 30


def rocm_machine(base: Path, gpus: int, device: int = 0x74A1) -> str:
    """Make a topology of one processor and some GPUs of 192 GiB; return its folder."""
    nodes = base / "nodes"
    for place in range(1 + gpus):
        bank = nodes / str(place) / "mem_banks" / "0"
        bank.mkdir(parents=True)
        is_gpu = place > 0
        (bank / "properties").write_text(
            f"heap_type {1 if is_gpu else 0}\nsize_in_bytes {192 * GIB if is_gpu else 512 * GIB}\nflags 0\nwidth 8192\n"
        )
        (nodes / str(place) / "properties").write_text(
            f"cpu_cores_count {0 if is_gpu else 96}\nsimd_count {1216 if is_gpu else 0}\nmem_banks_count 1\n"
            f"vendor_id {0x1002 if is_gpu else 0}\ndevice_id {device if is_gpu else 0}\n"
            f"unique_id {place * 1000}\ndrm_render_minor {128 + place if is_gpu else 0}\n"
        )
        (nodes / str(place) / "gpu_id").write_text(f"{place * 4711}\n")
    return str(nodes)

"""Which NVIDIA devices a machine has: asked of nvidia-smi, or read from what the driver tells in /proc."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess

import attrs

SECONDS = 5.0  # nvidia-smi hangs on a machine whose driver does
_QUERY = ("--query-gpu=index,uuid,name,memory.total,mig.mode.current", "--format=csv,noheader,nounits")
_LISTED = re.compile(r"^\s*(GPU|MIG) .*\(UUID: ([^)]+)\)", re.MULTILINE)
_MODEL = re.compile(r"\b((?:RTX|GTX) (?:A?\d+)(?: (?:Ti|SUPER|Ada))*|[A-Z]{1,2}\d+[A-Z]*)\b")


@attrs.frozen(kw_only=True)
class Gpu:
    """One device as the driver knows it. `parts` are the MIG devices that it is divided into."""

    index: str
    uuid: str
    model: str
    memory: int  # bytes, 0 if unknown
    parts: tuple[str, ...] = ()


def find(program: str = "nvidia-smi", proc: str = "/proc", seconds: float = SECONDS) -> list[Gpu]:
    """Return the devices in the order of their index; none if there is no driver or it does not answer."""
    answer = _ask([program, *_QUERY], seconds)
    if answer is None:
        return _from_proc(os.path.join(proc, "driver/nvidia/gpus"))
    found = []
    divided = False
    for line in answer.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 5:  # a message, such as "No devices were found"
            continue
        index, uuid, name, memory, mode = fields
        size = int(memory) << 20 if memory.isdigit() else 0
        found.append(Gpu(index=index, uuid=uuid, model=model(name), memory=size))
        divided = divided or mode == "Enabled"
    if divided:
        parts = _parts(_ask([program, "-L"], seconds) or "")
        found = [attrs.evolve(gpu, parts=tuple(parts.get(gpu.uuid, ()))) for gpu in found]
    return found


def model(name: str) -> str:
    """Return the short name of a model. Example: `model("NVIDIA A100-SXM4-80GB")` is "A100"."""
    matched = _MODEL.search(name)
    return matched[1].replace(" ", "-") if matched else name.removeprefix("NVIDIA ").replace(" ", "-")


def _parts(listing: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    whole = ""
    for kind, uuid in _LISTED.findall(listing):
        if kind == "GPU":
            whole = uuid
        else:
            parts.setdefault(whole, []).append(uuid)
    return parts


def _ask(command: list[str], seconds: float) -> str | None:
    """Return what a program prints, or None if it is not there, fails, or takes too long."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError:
        return None
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(
            subprocess.TimeoutExpired
        ):  # a process that waits for a broken driver cannot die
            process.communicate(timeout=1)
        return None
    return output if process.returncode == 0 else None


def _from_proc(folder: str) -> list[Gpu]:
    found: list[Gpu] = []
    with contextlib.suppress(OSError):
        for place in sorted(
            os.listdir(folder)
        ):  # the names are bus addresses, whose order is that of the indices
            facts: dict[str, str] = {}
            with contextlib.suppress(OSError), open(os.path.join(folder, place, "information")) as file:
                facts = {
                    key.strip(): value.strip() for key, _, value in (line.partition(":") for line in file)
                }
            if facts:
                index = facts.get("Device Minor", str(len(found)))
                uuid = facts.get("GPU UUID", "")
                found.append(Gpu(index=index, uuid=uuid, model=model(facts.get("Model", "")), memory=0))
    return found

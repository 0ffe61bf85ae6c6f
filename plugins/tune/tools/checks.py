"""Whether a trainable can be sent to a process, and whether it goes on from its checkpoints."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from shoal.tune.trainable.class_loop import read_checkpoint, write_checkpoint
from shoal.tune.trainable.trainable import Trainable

__all__ = ["diagnose_serialization", "validate_save_restore"]

_STEPS = 3  # before the checkpoint


def diagnose_serialization(trainable: Callable[..., Any]) -> bool | set[str]:
    """Return True if a function can be sent to a process, else the names of what it refers to that cannot.

    What is found is printed too.

    Example: `diagnose_serialization(train)`
    """
    import cloudpickle

    def problem(value: Any) -> str:
        try:
            cloudpickle.dumps(value)
        except Exception as error:  # a stranger's __reduce__ may raise anything
            return f"{type(error).__name__}: {error}"
        return ""

    whole = problem(trainable)
    if not whole:
        return True
    lines = [f"{trainable!r} cannot be sent: {whole}"]
    used = inspect.getclosurevars(inspect.unwrap(trainable))
    found: set[str] = set()
    for kind, names in (("global", used.globals), ("outer", used.nonlocals)):
        for name, value in names.items():
            why = problem(value)
            if why:
                found.add(name)
                lines.append(f"  the {kind} variable {name}: {why}")
    lines.append("Make these in the trainable, or give them with tune.with_parameters()." if found else "")
    sys.stdout.write("\n".join(lines).rstrip() + "\n")
    return found


def validate_save_restore(
    trainable_cls: type[Trainable], config: Mapping[str, Any] | None = None, num_gpus: int = 0
) -> bool:
    """Have an object of a trainable class go on from another's checkpoint, each in a process of its own; return True.

    Parameters: `config` is their configuration, `num_gpus` what each gets.
    Raises AssertionError if it does not count on from where the other was, and what the class itself raises.

    Example: `validate_save_restore(Walk, {"speed": 1})`
    """
    import shoal

    step = shoal.remote(num_gpus=num_gpus)(_some_steps)
    with tempfile.TemporaryDirectory(prefix="shoal_check_") as folder:
        before = shoal.get(step.remote(trainable_cls, dict(config or {}), folder, False, _STEPS))
        after = shoal.get(step.remote(trainable_cls, dict(config or {}), folder, True, 2))
    if before != _STEPS or after != _STEPS + 2:
        raise AssertionError(
            f"{trainable_cls.__name__} was saved after {before} steps, and counts {after} after two more from there"
        )
    return True


def _some_steps(made: type[Trainable], config: dict[str, Any], folder: str, restore: bool, count: int) -> int:
    trainable = made(config)
    try:
        if restore:
            read_checkpoint(trainable, folder)
        for _ in range(count):
            trainable.train()
        if not restore:
            write_checkpoint(trainable, folder)
        return trainable.iteration
    finally:
        trainable.stop()

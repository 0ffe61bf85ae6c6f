"""What clients send: JSON, checked to the last field before anything is done with it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from shoal.errors import ConfigError, describe
from shoal.jobs.manager import Submission
from shoal.jobs.packages import unpack_environment

_MOST_NUMBER = 1e15


def read_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a request's body. Raises ConfigError."""
    try:
        found = json.loads(body.decode(), parse_constant=_refuse_constant)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the body must be JSON in UTF-8: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"the body must be a JSON object, not {describe(found)}")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that is sent")


def read_submission(body: bytes) -> Submission:
    """Return what a client wants to submit. Raises ConfigError, naming the field, what came and what is allowed."""
    fields = read_json(body)
    if "job_id" in fields and fields.get("submission_id") is None:
        fields["submission_id"] = fields["job_id"]  # its older name
    fields.pop("job_id", None)
    unknown = sorted(fields.keys() - _FIELDS.keys())
    if unknown:
        raise ConfigError(f"a submission has no field {unknown[0]!r}; it has {', '.join(_FIELDS)}")
    if "entrypoint" not in fields:
        raise ConfigError("a submission needs an entrypoint: the command to run, such as 'python train.py'")
    checked = {name: _FIELDS[name](name, value) for name, value in fields.items() if value is not None}
    checked.setdefault("entrypoint", None)
    if "runtime_env" in checked:
        checked["asked_env"] = checked["runtime_env"]
        checked["runtime_env"] = unpack_environment(checked["runtime_env"])
    return Submission(**checked)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a text, not {describe(value)}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST_NUMBER:
        raise ConfigError(f"{name} must be a number from 0 to {_MOST_NUMBER:g}, not {describe(value)}")
    return value


def _bytes(name: str, value: Any) -> int:
    number = _number(name, value)
    if not math.isclose(number, int(number)):
        raise ConfigError(f"{name} must be a whole number of bytes, not {describe(value)}")
    return int(number)


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be an object, not {describe(value)}")
    return dict(value)


def _numbers(name: str, value: Any) -> dict[str, float]:
    return {key: _number(f"{name}[{key!r}]", one) for key, one in _table(name, value).items()}


def _texts(name: str, value: Any) -> dict[str, str]:
    return {key: _text(f"{name}[{key!r}]", one) for key, one in _table(name, value).items()}


_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "entrypoint": _text,
    "submission_id": _text,
    "runtime_env": _table,
    "metadata": _texts,
    "entrypoint_num_cpus": _number,
    "entrypoint_num_gpus": _number,
    "entrypoint_memory": _bytes,
    "entrypoint_resources": _numbers,
    "entrypoint_label_selector": _texts,
}

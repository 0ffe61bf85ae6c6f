"""Nested mappings: joined, made flat, looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["deep_update", "flatten_dict", "merge_dicts", "unflattened_lookup"]


def merge_dicts(d1: Mapping[str, Any], d2: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new mapping of two, nested ones joined; where both have a value it is the second's.

    Example: `merge_dicts({"a": {"b": 1}}, {"a": {"c": 2}})  # {"a": {"b": 1, "c": 2}}`
    """
    found = dict(d1)
    for name, value in d2.items():
        before = found.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[name] = merge_dicts(before, value) if both else value  # type: ignore[arg-type]
    return found


def deep_update(
    original: dict[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: Sequence[str] | None = None,
    override_all_if_type_changes: Sequence[str] | None = None,
    override_all_key_list: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Change a nested mapping as another says, in place; return it.

    Parameters: names that it does not have are an error unless `new_keys_allowed`, or within a mapping that
    `allow_new_subkey_list` names. A mapping named in `override_all_key_list` is replaced as a whole, and one named in
    `override_all_if_type_changes` if its "type" changes.
    Raises KeyError for a name that is not there.

    Example: `deep_update({"a": {"b": 1}}, {"a": {"b": 2}})  # {"a": {"b": 2}}`
    """
    for name, value in new_dict.items():
        if name not in original and not new_keys_allowed:
            raise KeyError(f"{name!r} is not there; there are {', '.join(map(repr, original)) or 'none'}")
        before = original.get(name)
        if not isinstance(before, dict) or not isinstance(value, Mapping):
            original[name] = value
            continue
        changes = name in (override_all_if_type_changes or ()) and (
            "type" in value and value["type"] != before.get("type")
        )
        if changes or name in (override_all_key_list or ()):
            original[name] = dict(value)
            continue
        free = new_keys_allowed or name in (allow_new_subkey_list or ())
        deep_update(before, value, free)
    return original


def flatten_dict(
    dt: Mapping[str, Any], delimiter: str = "/", prevent_delimiter: bool = False, flatten_list: bool = False
) -> dict[str, Any]:
    """Return a nested mapping as a flat one, names joined; with `flatten_list` lists too, by index.

    Raises ValueError for a name that has the delimiter, with `prevent_delimiter`.

    Example: `flatten_dict({"a": {"b": 1}})  # {"a/b": 1}`
    """
    found: dict[str, Any] = {}

    def add(path: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            items = [(str(name), each) for name, each in value.items()]
        elif flatten_list and isinstance(value, (list, tuple)) and value:
            items = [(str(index), each) for index, each in enumerate(value)]
        else:
            found[path] = value
            return
        for name, each in items:
            if prevent_delimiter and delimiter in name:
                raise ValueError(f"{name!r} has the delimiter {delimiter!r}; give another one")
            add(f"{path}{delimiter}{name}" if path else name, each)

    if dt:
        add("", dt)
    return found


def unflattened_lookup(
    flat_key: str, lookup: Mapping[str, Any], delimiter: str = "/", default: Any = ...
) -> Any:
    """Return the value in a nested mapping of names that are joined. Raises KeyError unless there is a `default`.

    Example: `unflattened_lookup("a/b", {"a": {"b": 1}})  # 1`
    """
    if flat_key in lookup:
        return lookup[flat_key]
    at: Any = lookup
    for name in flat_key.split(delimiter):
        if isinstance(at, Mapping) and name in at:
            at = at[name]
        elif isinstance(at, (list, tuple)) and name.isdigit() and int(name) < len(at):
            at = at[int(name)]
        elif default is not ...:
            return default
        else:
            raise KeyError(f"{flat_key!r}: there is no {name!r}")
    return at

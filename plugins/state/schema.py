"""What the records of the state API have in common: columns, which of them can be filtered by, and how they print."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs


def state_column(
    *, filterable: bool, detail: bool = False, format_fn: Callable[[Any], Any] | None = None, **kwargs: Any
) -> Any:
    """Declare one column: whether lists can be filtered by it, whether only detailed lists have it, how it prints.

    `kwargs` are those of `attrs.field`; a column without a default is None where it is not known.
    """
    if "default" not in kwargs and "factory" not in kwargs:
        kwargs["default"] = None
    metadata = {"filterable": filterable, "detail": detail, "format_fn": format_fn}
    return attrs.field(metadata=metadata, **kwargs)


@attrs.define
class StateSchema:
    """A record. Its columns can also be read as items of a mapping."""

    @classmethod
    def columns(cls) -> set[str]:
        """Return the names of all columns."""
        return {field.name for field in attrs.fields(cls)}

    @classmethod
    def filterable_columns(cls) -> set[str]:
        """Return the names of the columns that lists can be filtered by."""
        return {field.name for field in attrs.fields(cls) if field.metadata.get("filterable")}

    @classmethod
    def base_columns(cls) -> set[str]:
        """Return the names of the columns that every list has."""
        return {field.name for field in attrs.fields(cls) if not field.metadata.get("detail")}

    @classmethod
    def detail_columns(cls) -> set[str]:
        """Return the names of the columns that detailed lists have: all of them."""
        return cls.columns()

    @classmethod
    def list_columns(cls, detail: bool = True) -> list[str]:
        """Return the names of the columns in their order."""
        wanted = cls.columns() if detail else cls.base_columns()
        return [field.name for field in attrs.fields(cls) if field.name in wanted]

    @classmethod
    def humanify(cls, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record's mapping with times, sizes and resources as a person reads them."""
        shown = dict(state)
        for field in attrs.fields(cls):
            convert = field.metadata.get("format_fn")
            if convert is not None and shown.get(field.name) is not None:
                shown[field.name] = convert(shown[field.name])
        return shown

    def asdict(self) -> dict[str, Any]:
        """Return the columns as a mapping."""
        return attrs.asdict(self)

    def get(self, key: str, default: Any = None) -> Any:
        """Return one column, `default` for a name that is none."""
        return getattr(self, key, default)

    def __getitem__(self, key: str) -> Any:
        if key not in self.columns():
            raise KeyError(
                f"{type(self).__name__} has no column {key!r}; it has: {', '.join(sorted(self.columns()))}"
            )
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self.columns():
            raise KeyError(
                f"{type(self).__name__} has no column {key!r}; it has: {', '.join(sorted(self.columns()))}"
            )
        setattr(self, key, value)


class Humanify:
    """Numbers as a person reads them."""

    UNITS: ClassVar[tuple[str, ...]] = ("B", "KiB", "MiB", "GiB", "TiB")

    @staticmethod
    def memory(x: int) -> str:
        """Return bytes with a unit: 3 MiB."""
        size = float(x)
        for unit in Humanify.UNITS:
            if size < 1024 or unit == Humanify.UNITS[-1]:
                break
            size /= 1024
        return f"{size:.3f} {unit}"

    @staticmethod
    def duration(x: int) -> str:
        """Return milliseconds as hours, minutes and seconds."""
        return str(datetime.timedelta(milliseconds=x))

    @staticmethod
    def timestamp(x: float) -> str:
        """Return milliseconds since the epoch as local time."""
        return str(datetime.datetime.fromtimestamp(x / 1000))

    @staticmethod
    def events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return events with their `created_ms` as local time."""
        for event in events:
            if "created_ms" in event:
                event["created_ms"] = Humanify.timestamp(event["created_ms"])
        return events

    @staticmethod
    def node_resources(resources: dict[str, Any]) -> dict[str, Any]:
        """Return resources with sizes of memory in units."""
        return {
            name: Humanify.memory(value) if "memory" in name else value for name, value in resources.items()
        }

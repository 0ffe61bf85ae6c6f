"""The columns of a dataset."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Schema:
    """The names and Arrow types of columns, in order.

    Example: `dict(zip(ds.schema().names, ds.schema().types))`
    """

    base_schema: Any

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.base_schema.names)

    @property
    def types(self) -> list[Any]:
        """The Arrow types of the columns."""
        return list(self.base_schema.types)

    def __repr__(self) -> str:
        return "Schema(" + ", ".join(f"{field.name}: {field.type}" for field in self.base_schema) + ")"

"""What expressions can do with lists, structs, maps and tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from shoal.data.expressions.tree import Expr


@attrs.frozen(eq=False)
class ListNamespace:
    """`col("tags").list`."""

    expr: Expr

    def len(self) -> Expr:
        """Return how many values there are."""
        return self.expr.call("list_value_length")

    def get(self, index: int) -> Expr:
        """Return the value at a place; from the end for a place below 0. Raises IndexError where there is none."""
        if index >= 0:
            return self.expr.call("list_element", index)
        return self.expr.apply(_from_end(index))

    def __getitem__(self, key: int | slice) -> Expr:
        return self.slice(key.start, key.stop, key.step) if isinstance(key, slice) else self.get(key)

    def slice(self, start: int | None = None, stop: int | None = None, step: int | None = None) -> Expr:
        """Return the values from `start` up to `stop`, every `step`-th."""
        options = pc.ListSliceOptions(start or 0, stop, step or 1)
        return self.expr.call("list_slice", options=options)

    def sort(
        self,
        order: Literal["ascending", "descending"] = "ascending",
        null_placement: Literal["at_start", "at_end"] = "at_end",
    ) -> Expr:
        """Return the values of each list in order."""

        def sorted_lists(lists: Any) -> Any:
            kind = lists.type
            made: list[Any] = []
            for values in lists.to_pylist():
                if values is None:
                    made.append(None)
                    continue
                nulls = [value for value in values if value is None]
                rest = sorted((value for value in values if value is not None), reverse=order == "descending")
                made.append([*nulls, *rest] if null_placement == "at_start" else [*rest, *nulls])
            return pa.array(made, kind)

        return self.expr.apply(sorted_lists)

    def flatten(self) -> Expr:
        """Return lists of lists as lists."""

        def flattened(lists: Any) -> Any:
            made = [
                None if outer is None else [value for inner in outer for value in inner or ()]
                for outer in lists.to_pylist()
            ]
            return pa.array(made, pa.list_(lists.type.value_type.value_type))

        return self.expr.apply(flattened)


@attrs.frozen(eq=False)
class StructNamespace:
    """`col("address").struct`."""

    expr: Expr

    def field(self, field_name: str) -> Expr:
        """Return a field."""
        return self.expr.call("struct_field", options=pc.StructFieldOptions(field_name))

    def field_by_index(self, index: int) -> Expr:
        """Return the field at a place."""
        return self.expr.call("struct_field", options=pc.StructFieldOptions([index]))

    def __getitem__(self, key: str | int) -> Expr:
        return self.field(key) if isinstance(key, str) else self.field_by_index(key)


@attrs.frozen(eq=False)
class MapNamespace:
    """`col("attributes").map`."""

    expr: Expr

    def keys(self) -> Expr:
        """Return the keys as lists."""
        return self.expr.apply(_of_maps(0))

    def values(self) -> Expr:
        """Return the values as lists."""
        return self.expr.apply(_of_maps(1))


@attrs.frozen(eq=False)
class ArrayNamespace:
    """`col("image").arr`."""

    expr: Expr

    def to_list(self) -> Expr:
        """Return tensors, and lists of a fixed length, as lists."""

        def lists(column: Any) -> Any:
            kind = column.type
            if isinstance(kind, pa.FixedShapeTensorType):
                column = column.cast(kind.storage_type)
                kind = kind.storage_type
            return column.cast(pa.list_(kind.value_type))

        return self.expr.apply(lists)


def _from_end(index: int) -> Any:
    def get(lists: Any) -> Any:
        return pa.array(
            [None if values is None else values[index] for values in lists.to_pylist()], lists.type.value_type
        )

    return get


def _of_maps(place: int) -> Any:
    def parts(maps: Any) -> Any:
        kind = maps.type.item_type if place else maps.type.key_type
        made = [None if pairs is None else [pair[place] for pair in pairs] for pairs in maps.to_pylist()]
        return pa.array(made, pa.list_(kind))

    return parts

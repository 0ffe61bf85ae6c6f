"""The list that `wait` returns: one that knows that its references were looked at already."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


class CheckedList(list[T]):
    """A list whose items were found to be references that differ, until something is put in.

    A loop of `wait` over many references would else look at each of them in each call. In all else it is a list;
    copies, slices and pickles of it are plain lists.
    """

    __slots__ = ("checked",)

    def __init__(self, items: list[T]) -> None:
        super().__init__(items)
        self.checked: bool = True

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return list, (list(self),)


def _forgetting(name: str) -> Any:
    method = getattr(list, name)

    def change(self: CheckedList[Any], *args: Any) -> Any:
        self.checked = False
        return method(self, *args)

    change.__name__ = name
    change.__doc__ = method.__doc__
    return change


for _name in ("append", "extend", "insert", "__setitem__", "__iadd__", "__imul__"):
    setattr(CheckedList, _name, _forgetting(_name))

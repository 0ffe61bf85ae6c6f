"""The tokenizer: texts as lists of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from shoal.data.preprocessor import ColumnPreprocessor
from shoal.data.preprocessors.defaults import simple_split_tokenizer
from shoal.data.preprocessors.statistics import tokens


class Tokenizer(ColumnPreprocessor):
    """Replaces texts by lists of tokens: what `tokenization_fn(text)` returns, or the words between spaces.

    There is nothing to fit. Null stays null.

    Example: `Tokenizer(["text"], tokenization_fn=lambda text: text.lower().split()).transform(ds)`
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        tokenization_fn: Callable[[str], list[str]] | None = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        self._tokenization_fn = tokenization_fn or simple_split_tokenizer

    @property
    def tokenization_fn(self) -> Callable[[str], list[str]]:
        """What makes tokens of a text."""
        return self._tokenization_fn

    def _column(self, name: str, column: Any) -> Any:
        return pa.array(tokens(name, column, self._tokenization_fn), pa.list_(pa.string()))

"""Vectorizers: how often tokens are in a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.data.block import to_column
from shoal.data.checks import check_count
from shoal.data.preprocessor import ColumnPreprocessor
from shoal.data.preprocessors.defaults import simple_hash, simple_split_tokenizer
from shoal.data.preprocessors.statistics import TokenCounts, tokens

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset


class _Vectorizer(ColumnPreprocessor):
    _tokenization_fn: Callable[[str], list[str]]

    @property
    def tokenization_fn(self) -> Callable[[str], list[str]]:
        """What makes tokens of a text."""
        return self._tokenization_fn

    def _counts(self, name: str, column: Any, width: int, place: Callable[[str], int | None]) -> Any:
        rows = tokens(name, column, self._tokenization_fn)
        made = np.zeros((len(rows), width), dtype=np.int64)
        for number, row in enumerate(rows):
            for token in row or ():
                at = place(token)
                if at is not None:
                    made[number, at] += 1
        return to_column(name, made)


class HashingVectorizer(_Vectorizer):
    """Replaces texts by vectors of `num_features` counts; a token's hash says where it is counted.

    There is nothing to fit, and different tokens may meet in one place. Null has no tokens.
    Raises ValueError for a number below 1.

    Example: `HashingVectorizer(["text"], num_features=256).transform(ds)`
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        num_features: int,
        tokenization_fn: Callable[[str], list[str]] | None = None,
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        check_count("num_features", num_features, optional=False)
        self._num_features = num_features
        self._tokenization_fn = tokenization_fn or simple_split_tokenizer

    @property
    def num_features(self) -> int:
        """How long the vectors are."""
        return self._num_features

    def _column(self, name: str, column: Any) -> Any:
        width = self._num_features
        return self._counts(name, column, width, lambda token: simple_hash(token, width))


class CountVectorizer(_Vectorizer):
    """Replaces texts by vectors of counts, a place for each token that the fit saw.

    Parameters: `max_features` keeps the most frequent tokens only. `stats_["token_counts(x)"]` has the tokens and how
    often the fit saw them, most frequent first (of equally frequent ones in the order of the alphabet); that is their
    order in the vectors. Tokens that the fit did not see are left out. Null has no tokens.
    Raises ValueError at a fit for a column without any token.

    Example: `CountVectorizer(["text"], max_features=1000).fit_transform(ds)`
    """

    def __init__(
        self,
        columns: Sequence[str],
        tokenization_fn: Callable[[str], list[str]] | None = None,
        max_features: int | None = None,
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        check_count("max_features", max_features)
        self._tokenization_fn = tokenization_fn or simple_split_tokenizer
        self._max_features = max_features

    @property
    def max_features(self) -> int | None:
        """How many tokens of each column have a place."""
        return self._max_features

    def _fit(self, dataset: Dataset) -> Any:
        self.stat_computation_plan.add_aggregator(
            aggregator_fn=lambda name: TokenCounts(name, self._tokenization_fn),
            post_process_fn=self._kept,
            columns=self._columns,
        )
        return self

    def _kept(self, counts: Mapping[str, int]) -> dict[str, int]:
        kept = sorted(counts, key=lambda token: (-counts[token], token))[: self._max_features]
        return {token: counts[token] for token in kept}

    def _learned(self, stats: dict[str, Any]) -> dict[str, Any]:
        for key, counts in stats.items():
            if not counts:
                raise ValueError(f"{key} is empty: the column has no token in any row")
        return stats

    def _column(self, name: str, column: Any) -> Any:
        places = {token: at for at, token in enumerate(self.stats_[f"token_counts({name})"])}
        return self._counts(name, column, len(places), places.get)

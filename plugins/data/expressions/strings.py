"""What expressions can do with text. All of it is Arrow's, so it is pushed into readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
import pyarrow.compute as pc

if TYPE_CHECKING:
    from shoal.data.expressions.tree import Expr


@attrs.frozen(eq=False)
class StringNamespace:
    """`col("name").str`. Patterns are plain text, with `ignore_case` in any case, unless a method says regex.

    What else is given than a method names goes to the options of Arrow's function, which refuses what it has not.
    """

    expr: Expr

    def _call(self, function: str, options: Any = None) -> Expr:
        return self.expr.call(function, options=options)

    def len(self) -> Expr:
        """Return how many characters there are."""
        return self._call("utf8_length")

    def byte_len(self) -> Expr:
        """Return how many bytes there are."""
        return self._call("binary_length")

    def lower(self) -> Expr:
        """Return it in small letters."""
        return self._call("utf8_lower")

    def upper(self) -> Expr:
        """Return it in capital letters."""
        return self._call("utf8_upper")

    def capitalize(self) -> Expr:
        """Return it with a capital letter first, and small ones after it."""
        return self._call("utf8_capitalize")

    def title(self) -> Expr:
        """Return it with a capital letter at the beginning of each word."""
        return self._call("utf8_title")

    def swapcase(self) -> Expr:
        """Return it with capital letters for small ones and the other way round."""
        return self._call("utf8_swapcase")

    def reverse(self) -> Expr:
        """Return it backwards."""
        return self._call("utf8_reverse")

    def is_alnum(self) -> Expr:
        """Tell whether all are letters or digits."""
        return self._call("utf8_is_alnum")

    def is_alpha(self) -> Expr:
        """Tell whether all are letters."""
        return self._call("utf8_is_alpha")

    def is_ascii(self) -> Expr:
        """Tell whether all are of ASCII."""
        return self._call("string_is_ascii")

    def is_decimal(self) -> Expr:
        """Tell whether all are decimal digits."""
        return self._call("utf8_is_decimal")

    def is_digit(self) -> Expr:
        """Tell whether all are digits."""
        return self._call("utf8_is_digit")

    def is_lower(self) -> Expr:
        """Tell whether all letters are small."""
        return self._call("utf8_is_lower")

    def is_numeric(self) -> Expr:
        """Tell whether all are numbers."""
        return self._call("utf8_is_numeric")

    def is_printable(self) -> Expr:
        """Tell whether all can be printed."""
        return self._call("utf8_is_printable")

    def is_space(self) -> Expr:
        """Tell whether all is white space."""
        return self._call("utf8_is_space")

    def is_title(self) -> Expr:
        """Tell whether each word begins with a capital letter."""
        return self._call("utf8_is_title")

    def is_upper(self) -> Expr:
        """Tell whether all letters are capital."""
        return self._call("utf8_is_upper")

    def contains(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Tell whether a pattern is in it."""
        return self._call(
            "match_substring", pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs)
        )

    def starts_with(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Tell whether it begins with a pattern."""
        return self._call(
            "starts_with", pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs)
        )

    def ends_with(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Tell whether it ends with a pattern."""
        return self._call(
            "ends_with", pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs)
        )

    def match(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Tell whether it is like an SQL pattern with % and _."""
        return self._call(
            "match_like", pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs)
        )

    def match_regex(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Tell whether a regular expression is in it."""
        return self._call(
            "match_substring_regex",
            pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs),
        )

    def count(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Return how often a pattern is in it."""
        return self._call(
            "count_substring", pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs)
        )

    def count_regex(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Return how often a regular expression is in it."""
        return self._call(
            "count_substring_regex",
            pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs),
        )

    def find(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Return where a pattern begins; -1 if it is not there."""
        return self._call(
            "find_substring", pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs)
        )

    def find_regex(self, pattern: str, *args: Any, ignore_case: bool = False, **kwargs: Any) -> Expr:
        """Return where a regular expression begins; -1 if it is not there."""
        return self._call(
            "find_substring_regex",
            pc.MatchSubstringOptions(pattern, *args, ignore_case=ignore_case, **kwargs),
        )

    def extract(self, pattern: str, *args: Any, **kwargs: Any) -> Expr:
        """Return what the named groups of a regular expression match, as a struct."""
        return self._call("extract_regex", pc.ExtractRegexOptions(pattern, *args, **kwargs))

    def replace(
        self, pattern: str, replacement: str, *args: Any, max_replacements: int | None = None, **kwargs: Any
    ) -> Expr:
        """Return it with a pattern replaced."""
        options = pc.ReplaceSubstringOptions(
            pattern, replacement, *args, max_replacements=max_replacements, **kwargs
        )
        return self._call("replace_substring", options)

    def replace_regex(
        self, pattern: str, replacement: str, *args: Any, max_replacements: int | None = None, **kwargs: Any
    ) -> Expr:
        """Return it with a regular expression replaced."""
        options = pc.ReplaceSubstringOptions(
            pattern, replacement, *args, max_replacements=max_replacements, **kwargs
        )
        return self._call("replace_substring_regex", options)

    def replace_slice(self, start: int, stop: int, replacement: str, *args: Any, **kwargs: Any) -> Expr:
        """Return it with the characters from `start` up to `stop` replaced."""
        return self._call(
            "utf8_replace_slice", pc.ReplaceSliceOptions(start, stop, replacement, *args, **kwargs)
        )

    def slice(self, start: int, stop: int | None = None, step: int = 1, *args: Any, **kwargs: Any) -> Expr:
        """Return the characters from `start` up to `stop`."""
        return self._call("utf8_slice_codeunits", pc.SliceOptions(start, stop, step, *args, **kwargs))

    def split(
        self, pattern: str, *args: Any, max_splits: int | None = None, reverse: bool = False, **kwargs: Any
    ) -> Expr:
        """Return the parts between a pattern, as a list."""
        return self._call(
            "split_pattern",
            pc.SplitPatternOptions(pattern, *args, max_splits=max_splits, reverse=reverse, **kwargs),
        )

    def split_regex(self, pattern: str, *args: Any, max_splits: int | None = None, **kwargs: Any) -> Expr:
        """Return the parts between a regular expression, as a list."""
        return self._call(
            "split_pattern_regex", pc.SplitPatternOptions(pattern, *args, max_splits=max_splits, **kwargs)
        )

    def split_whitespace(
        self, *args: Any, max_splits: int | None = None, reverse: bool = False, **kwargs: Any
    ) -> Expr:
        """Return the words, as a list."""
        return self._call(
            "utf8_split_whitespace", pc.SplitOptions(*args, max_splits=max_splits, reverse=reverse, **kwargs)
        )

    def repeat(self, n: int) -> Expr:
        """Return it `n` times, one after the other."""
        return self.expr.call("binary_repeat", n)

    def strip(self, characters: str | None = None) -> Expr:
        """Return it without characters (white space unless given) at both ends."""
        return self._trim("utf8_trim", characters)

    def lstrip(self, characters: str | None = None) -> Expr:
        """Return it without characters (white space unless given) at the beginning."""
        return self._trim("utf8_ltrim", characters)

    def rstrip(self, characters: str | None = None) -> Expr:
        """Return it without characters (white space unless given) at the end."""
        return self._trim("utf8_rtrim", characters)

    def pad(self, width: int, fillchar: str = " ", side: Literal["left", "right", "both"] = "right") -> Expr:
        """Return it filled up to a width."""
        return self._padded(side, width, fillchar)

    def _padded(self, side: str, *args: Any, **kwargs: Any) -> Expr:
        function = {"left": "utf8_lpad", "right": "utf8_rpad", "both": "utf8_center"}[side]
        return self._call(function, pc.PadOptions(*args, **kwargs))

    def center(self, width: int, padding: str = " ", *args: Any, **kwargs: Any) -> Expr:
        """Return it in the middle of a width."""
        return self._padded("both", width, padding, *args, **kwargs)

    def lpad(self, width: int, padding: str = " ", *args: Any, **kwargs: Any) -> Expr:
        """Return it filled up at the left."""
        return self._padded("left", width, padding, *args, **kwargs)

    def rpad(self, width: int, padding: str = " ", *args: Any, **kwargs: Any) -> Expr:
        """Return it filled up at the right."""
        return self._padded("right", width, padding, *args, **kwargs)

    def _trim(self, function: str, characters: str | None) -> Expr:
        if characters is None:
            return self._call(function + "_whitespace")
        return self._call(function, pc.TrimOptions(characters))

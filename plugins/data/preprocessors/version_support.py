"""What says that a serialised preprocessor cannot be read here."""

from __future__ import annotations


class UnknownPreprocessorError(ValueError):
    """No class in this program has the identifier that a serialised preprocessor names; import its module first.

    Example: `except UnknownPreprocessorError as error: print(error.preprocessor_type)`
    """

    def __init__(self, preprocessor_type: str) -> None:
        super().__init__(preprocessor_type)
        self.preprocessor_type = preprocessor_type

    def __str__(self) -> str:
        return (
            f"no preprocessor is called {self.preprocessor_type!r} here: import the module that defines it, "
            "and see that its set_preprocessor_class_id is the one that it was serialised with"
        )

"""How a fitted preprocessor becomes bytes or text, each form known by how it begins."""

from __future__ import annotations

import base64
import binascii
import enum
import pickle
from abc import ABC, abstractmethod
from typing import Any

from shoal.errors import describe


class HandlerFormatName(enum.Enum):
    """The forms that there are.

    Example: `HandlerFormatName("cloudpickle")`
    """

    CLOUDPICKLE = "cloudpickle"
    PICKLE = "pickle"


class SerializationHandler(ABC):
    """One form. What it reads is code as well as data: never give it what a stranger sent.

    Example: `CloudPickleSerializationHandler().serialize(scaler)`
    """

    @abstractmethod
    def serialize(self, data: Any) -> bytes | str:
        """Return the value in this form."""

    @abstractmethod
    def deserialize(self, serialized: bytes | str) -> Any:
        """Return the value again. Raises ValueError for what is not of this form."""

    @abstractmethod
    def get_magic_bytes(self) -> bytes | str:
        """Return what the form begins with; empty if anything can stand there."""

    def strip_magic_bytes(self, serialized: bytes | str) -> bytes | str:
        """Return what follows the beginning. Raises ValueError if it begins otherwise."""
        magic = self.get_magic_bytes()
        if type(magic) is not type(serialized) or not serialized.startswith(magic):  # type: ignore[arg-type]
            raise ValueError(
                f"this is not what {type(self).__name__} wrote: it must begin with {magic!r}, "
                f"not be {describe(serialized)}"
            )
        return serialized[len(magic) :]


class CloudPickleSerializationHandler(SerializationHandler):
    """Bytes, by cloudpickle: functions and classes of a script travel along.

    Example: `CloudPickleSerializationHandler().deserialize(data)`
    """

    MAGIC_CLOUDPICKLE: bytes = b"CPKL:"

    def serialize(self, data: Any) -> bytes:
        """Return the value in this form."""
        import cloudpickle

        return self.MAGIC_CLOUDPICKLE + bytes(cloudpickle.dumps(data))

    def deserialize(self, serialized: bytes | str) -> Any:
        """Return the value again. Raises ValueError for what is not of this form."""
        data = self.strip_magic_bytes(serialized)
        assert isinstance(data, bytes)
        return _loaded(data)

    def get_magic_bytes(self) -> bytes:
        """Return what the form begins with."""
        return self.MAGIC_CLOUDPICKLE


class PickleSerializationHandler(SerializationHandler):
    """Text, by pickle in base64: for places that take no bytes. Functions must be importable by name.

    Example: `PickleSerializationHandler().serialize(scaler)`
    """

    def serialize(self, data: Any) -> str:
        """Return the value in this form."""
        return base64.b64encode(pickle.dumps(data)).decode("ascii")

    def deserialize(self, serialized: bytes | str) -> Any:
        """Return the value again. Raises ValueError for what is not of this form."""
        text = self.strip_magic_bytes(serialized)
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"this is no pickle in base64: {error}") from error
        return _loaded(data)

    def get_magic_bytes(self) -> str:
        """Return what the form begins with: nothing."""
        return ""


def _loaded(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"a preprocessor cannot be read from this: {error}") from error

"""Objects whose state is written into folders, those of their components into folders below."""

from __future__ import annotations

import importlib
import json
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from shoal.errors import ConfigError

_VERSION = "1.0"
T = TypeVar("T", bound="Checkpointable")


class Checkpointable(ABC):
    """An object that can be written into a folder, and made again of it.

    Subclasses give and take their state as a dictionary, and tell what they were made with. Components of theirs that
    are Checkpointable themselves have folders of their own: `restore_from_path(path, component="learner/rl_module")`
    takes one of them. States are pickled: open only folders whose writer you trust.

    Example: `module.save_to_path("/tmp/module"); again = MyModule.from_checkpoint("/tmp/module")`
    """

    STATE_FILE_NAME = "state"
    CLASS_AND_CTOR_ARGS_FILE_NAME = "class_and_ctor_args.pkl"
    METADATA_FILE_NAME = "metadata.json"

    @abstractmethod
    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the state: `components` only, if they are named, and none of `not_components`."""

    @abstractmethod
    def set_state(self, state: dict[str, Any]) -> None:
        """Take a state that `get_state` gave; what it does not have stays as it is."""

    @abstractmethod
    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what an object like this one is made with."""

    def get_checkpointable_components(self) -> list[tuple[str, Checkpointable]]:
        """Return components that have folders of their own, with their names."""
        return []

    def get_metadata(self) -> dict[str, Any]:
        """Return what is told about a folder, in numbers and words."""
        kind = type(self)
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "checkpoint_version": _VERSION}

    def save_to_path(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        state: dict[str, Any] | None = None,
        filesystem: Any = None,
        use_msgpack: bool = False,
    ) -> str:
        """Write everything into a folder, which is made (None: one for temporary things); return its path.

        `state` is written instead of what `get_state` gives. With a filesystem of pyarrow's the folder is there.
        Raises ConfigError for `use_msgpack`: states are pickled.
        """
        import tempfile

        if use_msgpack:
            raise ConfigError("use_msgpack: states are pickled; leave it out")
        target = str(path) if path is not None else tempfile.mkdtemp(prefix="shoal-rllib-")
        with tempfile.TemporaryDirectory() as here:
            folder = Path(here) if filesystem is not None else Path(target)
            self._write(folder, state)
            if filesystem is not None:
                from pyarrow import fs

                fs.copy_files(here, target, destination_filesystem=filesystem)
        return target

    def restore_from_path(
        self,
        path: str | os.PathLike[str],
        *,
        component: str | None = None,
        filesystem: Any = None,
        **kwargs: Any,
    ) -> None:
        """Take the state that a folder has, of one component if it is named ("learner/rl_module").

        Raises FileNotFoundError for a folder that has none, and ConfigError for an unknown component.
        """
        import tempfile

        with tempfile.TemporaryDirectory() as here:
            if filesystem is not None:
                from pyarrow import fs

                fs.copy_files(str(path), here, source_filesystem=filesystem)
            self._read(Path(here) if filesystem is not None else Path(path), component)

    @classmethod
    def from_checkpoint(
        cls: type[T], path: str | os.PathLike[str], filesystem: Any = None, **kwargs: Any
    ) -> T:
        """Return an object made as the one that was written, with its state; `kwargs` replace what it was made with.

        Raises FileNotFoundError for a folder that is no checkpoint, and ConfigError for one of another class.
        """
        import tempfile

        with tempfile.TemporaryDirectory() as here:
            folder = Path(path)
            if filesystem is not None:
                from pyarrow import fs

                fs.copy_files(str(path), here, source_filesystem=filesystem)
                folder = Path(here)
            file = folder / cls.CLASS_AND_CTOR_ARGS_FILE_NAME
            if not file.is_file():
                raise FileNotFoundError(f"{path} holds no checkpoint: there is no {file.name}")
            made = pickle.loads(file.read_bytes())
            module, _, name = made["class"].partition(":")
            kind: Any = importlib.import_module(module)
            for part in name.split("."):
                kind = getattr(kind, part)
            if not issubclass(kind, cls):
                raise ConfigError(f"{path} is of {kind.__name__}, which is no {cls.__name__}")
            arguments, keywords = made["arguments"]
            restored: T = kind(*arguments, **{**keywords, **kwargs})
            restored._read(folder, None)
            return restored

    def _write(self, folder: Path, state: dict[str, Any] | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        components = self.get_checkpointable_components()
        for name, component in components:
            component._write(folder / name, None if state is None else state.get(name))
        names = [name for name, _ in components]
        own = self.get_state(not_components=names) if state is None else state
        own = {name: value for name, value in own.items() if name not in names}
        made = {"class": self.get_metadata()["class"], "arguments": self.get_ctor_args_and_kwargs()}
        _put(folder / self.CLASS_AND_CTOR_ARGS_FILE_NAME, pickle.dumps(made))
        _put(folder / f"{self.STATE_FILE_NAME}.pkl", pickle.dumps(own))
        _put(folder / self.METADATA_FILE_NAME, json.dumps(self.get_metadata()).encode())

    def _read(self, folder: Path, component: str | None) -> None:
        components = dict(self.get_checkpointable_components())
        if component is not None:
            name, _, rest = component.partition("/")
            if name not in components:
                raise ConfigError(
                    f"there is no component {name!r}; there are {', '.join(components) or 'none'}"
                )
            components[name]._read(folder, rest or None)
            return
        file = folder / f"{self.STATE_FILE_NAME}.pkl"
        if not file.is_file():
            raise FileNotFoundError(f"{folder} holds no state: there is no {file.name}")
        self.set_state(pickle.loads(file.read_bytes()))
        for name, each in components.items():
            if (folder / name).is_dir():
                each._read(folder / name, None)


def chosen(
    name: str, components: str | Collection[str] | None, not_components: str | Collection[str] | None
) -> bool:
    """Return whether a component is asked for; names may have those of parts behind a slash.

    Example: `chosen("learner", ["learner/rl_module"], None)  # True`
    """
    wanted = [components] if isinstance(components, str) else components
    unwanted = [not_components] if isinstance(not_components, str) else not_components or ()
    if name in unwanted:
        return False
    return wanted is None or any(each == name or each.startswith(f"{name}/") for each in wanted)


def _put(file: Path, content: bytes) -> None:
    unfinished = file.with_name(f".{file.name}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, file)

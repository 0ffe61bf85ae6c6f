"""PyModulesStep: modules of the caller's that a worker can import."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

from shoal.environments.package import keep_archive, pack_file, pack_folder
from shoal.environments.remote import REMOTE, address_of, bring
from shoal.environments.unpack import unpack
from shoal.environments.working_dir import is_canonical
from shoal.errors import ConfigError, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_ALLOWED = "a package's folder, a .py file, a .zip or .whl file or the address of one, or an imported module"


class PyModulesStep(EnvironmentStep):
    """`{"py_modules": ["./my_package", "one.py", "lib-1.0-py3-none-any.whl", imported_module]}`.

    A folder is a package and is imported by its own name; what a .zip holds is imported from its root. An address
    (`https://…/lib.zip`, see working_dir) is fetched by each node. The canonical value is a list of `{"uri": path of a
    zip file, "hash": its SHA-256}` and `{"remote": address}`, and such are accepted as well.
    """

    name: ClassVar[str] = "py_modules"
    order: ClassVar[int] = 30
    __slots__ = ()

    def check(self, value: Any) -> list[dict[str, str]]:
        if isinstance(value, (str, bytes, Mapping, ModuleType)) or not hasattr(value, "__iter__"):
            raise ConfigError(f"runtime_env['py_modules'] must be a list, got {describe(value)}")
        return [_package(index, each) for index, each in enumerate(value)]

    def build(self, value: Any, folder: str) -> WorkerChanges:
        path = []
        for index, package in enumerate(value):
            place = os.path.join(folder, str(index))
            os.mkdir(place)
            if REMOTE in package:
                bring(package, place)
            else:
                unpack(package["uri"], package["hash"], place)
            path.append(place)
            # A wheel may keep a part of itself here (binary distribution format, "the .data directory").
            path += sorted(glob.glob(os.path.join(glob.escape(place), "*.data", "*lib")))
        return WorkerChanges(path=path)


def _package(index: int, module: Any) -> dict[str, str]:
    if is_canonical(module):
        return dict(module)
    address = address_of(module, f"runtime_env['py_modules'][{index}]")
    if address is not None:
        return address
    path = _path_of(index, module)
    if os.path.isdir(path):
        packed = pack_folder(path, inside=os.path.basename(os.path.realpath(path)))
    elif path.endswith((".zip", ".whl")) and os.path.isfile(path):
        packed = keep_archive(path)
    elif path.endswith(".py") and os.path.isfile(path):
        packed = pack_file(path)
    else:
        there = "is none of these" if os.path.exists(path) else "does not exist"
        raise ConfigError(f"runtime_env['py_modules'][{index}] must be {_ALLOWED}; {path!r} {there}")
    return dict(zip(("uri", "hash"), packed, strict=True))


def _path_of(index: int, module: Any) -> str:
    if isinstance(module, ModuleType):
        folders = list(getattr(module, "__path__", ()))
        if len(folders) == 1:
            return str(folders[0])
        if not folders and getattr(module, "__file__", None):
            return str(module.__file__)
        raise ConfigError(
            f"runtime_env['py_modules'][{index}]: the module {module.__name__!r} is not one file or one folder; give "
            "the paths of its parts"
        )
    if not isinstance(module, (str, os.PathLike)):
        raise ConfigError(f"runtime_env['py_modules'][{index}] must be {_ALLOWED}, got {describe(module)}")
    return os.path.expanduser(os.fspath(module))

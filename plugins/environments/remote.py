"""Archives at an address: fetched by the node that needs them."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from shoal.environments.package import digest
from shoal.environments.unpack import unpack
from shoal.errors import ConfigError, RuntimeEnvSetup
from shoal.interfaces.environment import seconds_left

_LARGEST = 4 << 30  # bytes of an archive
_BLOCK = 1 << 20
_QUIET_SECONDS = 60.0  # how long a server may say nothing
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
REMOTE = "remote"  # the key of a canonical value


def address_of(value: Any, where: str) -> dict[str, str] | None:
    """Return the canonical value of an address, None for what is none. Raises ConfigError for one that is refused."""
    if isinstance(value, dict) and value.keys() == {REMOTE} and isinstance(value[REMOTE], str):
        return address_of(value[REMOTE], where)
    if not isinstance(value, str) or "://" not in value:
        return None
    parts = urlsplit(value)
    if not parts.path.endswith((".zip", ".whl")):
        raise ConfigError(f"{where}: {value!r} must lead to a .zip file or a wheel")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ConfigError(f"{where}: {value!r}: what a program runs does not come unprotected; use https://")
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise ConfigError(f"{where}: {value!r} must have an absolute path: file:///folder/archive.zip")
    return {REMOTE: value}


def bring(value: dict[str, str], folder: str) -> None:
    """Fetch an archive and unpack it into a folder. Raises RuntimeEnvSetup."""
    address = value[REMOTE]
    target = os.path.join(folder, ".archive")
    try:
        with _open(address) as source, open(target, "xb") as file:
            _copy(source, file, address)
        # There is no hash to compare with: an address names whatever lies there.
        unpack(target, digest(target), folder)
    except (OSError, ValueError) as error:
        raise RuntimeEnvSetup(f"{address} cannot be fetched: {type(error).__name__}: {error}") from error
    finally:
        if os.path.exists(target):
            os.unlink(target)


def only_folder(folder: str) -> str:
    """Return the folder inside, if an archive has one and nothing else; else the folder itself."""
    inside = os.listdir(folder)
    single = os.path.join(folder, inside[0]) if len(inside) == 1 else ""
    return single if os.path.isdir(single) else folder


def _open(address: str) -> IO[bytes]:
    parts = urlsplit(address)
    if parts.scheme == "file":
        return open(url2pathname(parts.path), "rb")
    if parts.scheme in ("http", "https"):
        quiet = min(_QUIET_SECONDS, seconds_left())
        opened: IO[bytes] = urllib.request.build_opener(_OnlyProtected()).open(address, timeout=quiet)
        return opened
    return _open_by_fsspec(address, parts.scheme)


class _OnlyProtected(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from an address that is protected to one that is not."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https" and urlsplit(newurl).hostname not in _LOOPBACK:
            raise urllib.error.URLError(f"it leads on to {newurl}, which is not protected")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open_by_fsspec(address: str, scheme: str) -> IO[bytes]:
    try:
        import fsspec
    except ImportError:
        raise RuntimeEnvSetup(f"{address}: for addresses of {scheme}:// a node needs fsspec") from None
    try:
        opened: IO[bytes] = fsspec.open(address, "rb").open()
    except Exception as error:  # each of its file systems has errors of its own
        raise RuntimeEnvSetup(f"{address} cannot be opened: {type(error).__name__}: {error}") from error
    return opened


def _copy(source: IO[bytes], file: IO[bytes], address: str) -> None:
    size = 0
    while block := source.read(_BLOCK):
        seconds_left()
        size += len(block)
        if size > _LARGEST:
            raise RuntimeEnvSetup(f"{address} has more than {_LARGEST:,} bytes")
        file.write(block)

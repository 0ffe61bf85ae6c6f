"""Taking a zip file apart without trusting it."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile

from shoal.environments.package import digest
from shoal.errors import RuntimeEnvSetup

LIMIT = 4 << 30  # bytes of all files together, once unpacked
_ENCRYPTED = 0x1


def unpack(package: str, expected: str, folder: str, limit: int = LIMIT) -> None:
    """Write an archive's files below `folder`, which exists and belongs to the caller alone.

    Raises RuntimeEnvSetup, before anything is written, if the archive is not the expected one (SHA-256), holds a
    link, a special file or a name that leads out of the folder, or is too large; and if the disk is full.
    """
    try:
        if digest(package) != expected:
            raise RuntimeEnvSetup(
                f"the package {package} was changed after it was made: its SHA-256 is not {expected}"
            )
        with zipfile.ZipFile(package) as archive:
            members = archive.infolist()
            for member in members:
                _check(member, package)
            total = sum(member.file_size for member in members)
            if total > limit:
                raise RuntimeEnvSetup(
                    f"the package {package} would unpack to {total:,} bytes; at most {limit:,} may"
                )
            for member in members:
                _write(archive, member, folder)
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise RuntimeEnvSetup(f"cannot unpack {package}: {type(error).__name__}: {error}") from error


def _check(member: zipfile.ZipInfo, package: str) -> None:
    # orig_filename: ZipInfo cuts `filename` at a NUL and turns backslashes on some systems, hiding what was meant.
    for name in (member.orig_filename, member.filename):
        parts = name.rstrip("/").split("/")
        if (
            not name.rstrip("/")
            or name.startswith("/")
            or "\\" in name
            or "\0" in name
            or ":" in parts[0]
            or any(part in ("", ".", "..") for part in parts)
        ):
            raise RuntimeEnvSetup(
                f"the package {package} holds the unsafe name {name!r}; nothing of it was unpacked"
            )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RuntimeEnvSetup(
            f"the package {package} holds {member.filename!r}, which is a link or special file; pack what it leads to"
        )
    if member.flag_bits & _ENCRYPTED:
        raise RuntimeEnvSetup(f"the package {package} is encrypted")


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: str) -> None:
    path = os.path.join(folder, member.filename)
    if member.is_dir():
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    executable = (member.external_attr >> 16) & stat.S_IXUSR
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o755 if executable else 0o644)
    with os.fdopen(descriptor, "wb") as target, archive.open(member) as source:
        shutil.copyfileobj(source, target, 1 << 20)

"""Files that only their owner may read: the token and the keys of certificates."""

from __future__ import annotations

import os
import stat

from shoal.errors import ConfigError

TOKEN_BYTES = 32
_LARGEST = 1 << 20  # a token or a key is far smaller: this is the wrong file


def write_private(path: str, data: bytes) -> None:
    """Make a file of mode 0600 from its first byte on. Raises FileExistsError if there is one already.

    Example: `write_private("/run/shoal/key.pem", pem)`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)  # an unusual umask may have taken the owner's right to read
        file.write(data)


def read_private(path: str, what: str) -> bytes:
    """Return a file's bytes, once it is known that nobody else can read or change it.

    It must belong to this user with mode 0600 or less, or to root with mode 0640 or less (so are secrets that a
    container gets from outside). `what` is what an error calls it. Raises ConfigError, which says how to mend it.

    Example: `read_private("/run/shoal/key.pem", "the key")`.
    """
    try:
        # Not blocking, so that a pipe in the place of the file does not hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {path}: {error.strerror}") from error
    try:
        # Of what was opened, not of the name, which may lead elsewhere by now.
        status = os.fstat(descriptor)
        _check_status(path, what, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_LARGEST)
    finally:
        os.close(descriptor)


def make_token(path: str) -> bytes:
    """Make a new token, 32 random bytes, write it to a private file and return it. Raises FileExistsError."""
    token = os.urandom(TOKEN_BYTES)
    write_private(path, token)
    return token


def read_token(path: str) -> bytes:
    """Return the token in a file. Raises ConfigError if others can read it, or if it is no token."""
    token = read_private(path, "the token file")
    if len(token) != TOKEN_BYTES:
        raise ConfigError(
            f"the token file {path} has {len(token)} bytes, a token has {TOKEN_BYTES}: copy the session's file whole"
        )
    return token


def _check_status(path: str, what: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{what} {path} is no ordinary file")
    if status.st_size > _LARGEST:
        raise ConfigError(f"{what} {path} is too large to be one ({status.st_size:,} bytes)")
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid():
        forbidden = 0o077
    elif status.st_uid == 0:
        forbidden = 0o027
    else:
        raise ConfigError(
            f"{what} {path} belongs to user {status.st_uid}, who can change it: copy it, or "
            f"`chown {os.geteuid()} {path}`"
        )
    if mode & forbidden:
        raise ConfigError(
            f"{what} {path} can be read or changed by others (its mode is {mode:04o}): run `chmod 600 {path}`. Who "
            "read it can do what it allows, so make a new one if others have access to the machine"
        )

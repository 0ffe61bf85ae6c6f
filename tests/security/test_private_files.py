"""Files that only their owner may read."""

from __future__ import annotations

import os
import stat
import subprocess
import sysconfig
from pathlib import Path

import pytest

import shoal
from shoal.errors import ConfigError, SystemFailure
from shoal.native.process.session import Session
from shoal.native.security.private import TOKEN_BYTES, make_token, read_private, read_token, write_private


def test_a_token_is_private_and_random(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        tokens = {make_token(str(tmp_path / name)) for name in ("one", "two")}
    finally:
        os.umask(old)
    assert {len(token) for token in tokens} == {TOKEN_BYTES}
    assert len(tokens) == 2
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert read_token(str(tmp_path / "one")) in tokens


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = str(tmp_path / "token")
    token = make_token(path)
    with pytest.raises(FileExistsError):
        make_token(path)
    assert read_token(path) == token


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o666, 0o777])
def test_a_token_that_others_can_read_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    token = make_token(str(path))
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"its mode is {mode:04o}\): run `chmod 600 {path}`"):
        read_token(str(path))
    path.chmod(0o600)
    assert read_token(str(path)) == token


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_what_is_private_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_private(str(path), b"secret")
    path.chmod(mode)
    assert read_private(str(path), "the key") == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to someone else")
def test_a_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    make_token(str(path))
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        read_token(str(path))


def test_what_is_no_token_is_refused(tmp_path: Path) -> None:
    write_private(str(tmp_path / "short"), b"short")
    with pytest.raises(ConfigError, match="has 5 bytes, a token has 32"):
        read_token(str(tmp_path / "short"))
    with pytest.raises(ConfigError, match=r"cannot be read: .*absent: No such file"):
        read_token(str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="is no ordinary file"):
        read_token(str(tmp_path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is no ordinary file"):
        read_token(str(tmp_path / "pipe"))
    write_private(str(tmp_path / "large"), bytes(2 << 20))
    with pytest.raises(ConfigError, match="too large"):
        read_token(str(tmp_path / "large"))


@pytest.mark.processes
def test_a_session_whose_token_others_can_read_is_not_joined() -> None:
    with shoal.init(engine="native", num_cpus=1, num_gpus=0) as context:
        token = Path(context["session_dir"]) / "token"
        assert Session.read(context["session_dir"]).token == token.read_bytes()
        token.chmod(0o644)
        with pytest.raises(SystemFailure, match="chmod 600"):
            Session.read(context["session_dir"])


@pytest.mark.parametrize("words", [["--head", "--port", "0"], ["--address", "127.0.0.1:1"]])
def test_no_node_starts_with_a_token_that_others_can_read(tmp_path: Path, words: list[str]) -> None:
    token = tmp_path / "token"
    make_token(str(token))
    token.chmod(0o644)
    shoal_command = str(Path(sysconfig.get_path("scripts")) / "shoal")
    done = subprocess.run(
        [shoal_command, "start", *words, "--token-file", str(token)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"run `chmod 600 {token}`" in done.stderr
    assert done.stdout == ""

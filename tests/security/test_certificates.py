"""Certificates that a cluster makes for itself, and what is said of given ones that are wrong."""

from __future__ import annotations

import datetime
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from shoal.errors import ConfigError
from shoal.native.security.certificates import (
    CLUSTER_HOST,
    Authority,
    Credentials,
    check_credentials,
    make_authority,
    make_credentials,
    names_of,
    read_certificates,
)

DAY = datetime.timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return new_authority(tmp_path / "authority")


@pytest.fixture
def node(tmp_path: Path, authority: Authority) -> Credentials:
    return new_node(authority, tmp_path / "node", "one.example", "*.many.example", "10.1.2.3", "fd00::1")


def new_authority(folder: Path, days: float = 30) -> Authority:
    folder.mkdir()
    return make_authority(str(folder), "test", days)


def new_node(authority: Authority, folder: Path, *hosts: str, days: float = 10) -> Credentials:
    folder.mkdir()
    return make_credentials(authority, str(folder), hosts, days)


def test_what_is_made_passes_its_own_check(node: Credentials) -> None:
    expires = check_credentials(node, ["one.example", "10.1.2.3", "fd00::1", "x.many.example", CLUSTER_HOST])
    left = expires - datetime.datetime.now(datetime.timezone.utc)
    assert 9 * DAY < left <= 10 * DAY


def test_keys_are_private_and_certificates_are_not_secret(node: Credentials, authority: Authority) -> None:
    for path in (node.key_file, authority.key_file):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert b"PRIVATE" not in Path(node.cert_file).read_bytes() + Path(node.ca_file).read_bytes()


def test_another_implementation_agrees(node: Credentials) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command here")
    command = [openssl, "verify", "-x509_strict", "-CAfile", node.ca_file, "-verify_hostname", "one.example"]
    done = subprocess.run([*command, node.cert_file], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_a_node_s_certificate_outlives_no_authority(authority: Authority, tmp_path: Path) -> None:
    node = new_node(authority, tmp_path / "long", days=1000)
    [ca] = read_certificates(authority.cert_file, "the authority")
    assert check_credentials(node) == ca.not_valid_after_utc


def test_a_node_cannot_sign_for_others(authority: Authority, tmp_path: Path) -> None:
    node = new_node(authority, tmp_path / "node")
    with pytest.raises(ConfigError, match=f"{node.cert_file} is not an authority's"):
        new_node(Authority(node.cert_file, node.key_file), tmp_path / "child")
    # It says that the authority signed it, and the signature is the node's.
    forged = new_node(Authority(authority.cert_file, node.key_file), tmp_path / "forged")
    with pytest.raises(ConfigError, match="which is not among the authorities"):
        check_credentials(forged)


def test_nothing_is_overwritten(authority: Authority, tmp_path: Path) -> None:
    key = Path(authority.key_file).read_bytes()
    with pytest.raises(FileExistsError):
        make_authority(str(tmp_path / "authority"), "again")
    assert Path(authority.key_file).read_bytes() == key


def test_an_expired_certificate_is_named(authority: Authority, tmp_path: Path) -> None:
    node = new_node(authority, tmp_path / "node", days=-3)
    with pytest.raises(
        ConfigError, match=rf"the certificate {node.cert_file} expired on 20\d\d-.* UTC: give a new"
    ):
        check_credentials(node)


def test_an_expired_authority_signs_nothing(tmp_path: Path) -> None:
    old = new_authority(tmp_path / "old", days=-1)
    (tmp_path / "node").mkdir()
    with pytest.raises(ConfigError, match=r"the authority's certificate .* expired on"):
        make_credentials(old, str(tmp_path / "node"))
    assert list((tmp_path / "node").iterdir()) == []


def test_a_certificate_of_tomorrow_is_named(node: Credentials) -> None:
    yesterday = datetime.datetime.now(datetime.timezone.utc) - DAY
    with pytest.raises(ConfigError, match=r"is not valid before .*set the clock right"):
        check_credentials(node, now=yesterday)


def test_the_wrong_host_is_named(node: Credentials) -> None:
    for host in ("two.example", "10.1.2.4", "a.b.many.example", "many.example"):
        with pytest.raises(ConfigError, match=rf"is not for '{host}', but for {CLUSTER_HOST}, one.example"):
            check_credentials(node, [host])


def test_the_wrong_key_is_named(node: Credentials, authority: Authority, tmp_path: Path) -> None:
    other = new_node(authority, tmp_path / "other")
    with pytest.raises(
        ConfigError, match=rf"{other.key_file} is not that of the certificate {node.cert_file}"
    ):
        check_credentials(attrs.evolve(node, key_file=other.key_file))


def test_the_wrong_authority_is_named(node: Credentials, tmp_path: Path) -> None:
    stranger = new_authority(tmp_path / "stranger")
    with pytest.raises(ConfigError, match=rf"not among the authorities in {stranger.cert_file}"):
        check_credentials(attrs.evolve(node, ca_file=stranger.cert_file))


def test_a_key_that_others_can_read_is_refused(
    node: Credentials, authority: Authority, tmp_path: Path
) -> None:
    os.chmod(node.key_file, 0o644)
    with pytest.raises(ConfigError, match=f"chmod 600 {node.key_file}"):
        check_credentials(node)
    os.chmod(authority.key_file, 0o640)
    (tmp_path / "more").mkdir()
    with pytest.raises(ConfigError, match=f"chmod 600 {authority.key_file}"):
        make_credentials(authority, str(tmp_path / "more"))


def test_files_that_are_no_certificates_are_named(node: Credentials, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.write_text("hello")
    odd.chmod(0o600)
    for field, words in {
        "ca_file": f"the authority's certificate {odd} is no certificate in PEM form",
        "cert_file": f"the certificate {odd} is no certificate in PEM form",
        "key_file": f"the certificate's key {odd} is no private key in PEM form",
    }.items():
        with pytest.raises(ConfigError, match=words):
            check_credentials(attrs.evolve(node, **{field: str(odd)}))
        with pytest.raises(ConfigError, match=r"cannot be read: .*absent"):
            check_credentials(attrs.evolve(node, **{field: str(tmp_path / "absent")}))


def test_what_is_no_host_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    with pytest.raises(ConfigError, match="neither a host name nor an IP address"):
        make_credentials(authority, str(tmp_path / "node"), ["a..b"])


def test_each_name_is_in_once(authority: Authority, tmp_path: Path) -> None:
    node = new_node(authority, tmp_path / "twice", "one.example", "one.example", CLUSTER_HOST)
    [certificate] = read_certificates(node.cert_file, "it")
    assert names_of(certificate) == [CLUSTER_HOST, "one.example"]


def test_without_the_library_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"pip install 'shoal\[cluster\]'"):
        make_authority(str(tmp_path), "test")

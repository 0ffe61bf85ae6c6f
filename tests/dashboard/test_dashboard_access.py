"""Who gets in: by token and cookie, from the own page only, under the own name only, with bodies of bounded size."""

from __future__ import annotations

import http.client
import time

import pytest
from asking import Asker

from shoal.dashboard.access import BODY_BYTES, COOKIE_SECONDS, Keys


def test_the_token_opens_the_api_and_a_wrong_one_does_not(asker: Asker) -> None:
    assert asker.ask("/api/version").json["version"]
    for given in ("", "Bearer", "Bearer wrong", f"Basic {asker.token}", f"Bearer {asker.token[:-1]}"):
        answer = asker.ask("/api/version", headers={"Authorization": given}, with_token=False)
        assert answer.status == 401, given
        assert "shoal dashboard" in answer.json["message"]
        assert answer.headers["www-authenticate"] == "Bearer"


def test_health_needs_no_token_and_pages_hold_nothing_that_would(asker: Asker) -> None:
    assert asker.ask("/healthz", with_token=False).body == b"ok\n"
    page = asker.ask("/tasks", with_token=False)
    assert page.status == 200
    assert asker.token.encode() not in page.body


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_cannot_use(asker: Asker) -> None:
    answer = asker.ask("/api/login", "POST", {"token": asker.token}, {"X-Shoal": "1"}, with_token=False)
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert f"max-age={COOKIE_SECONDS}" in said
    assert asker.token not in said
    cookie = said.partition(";")[0]
    assert asker.ask("/api/version", headers={"Cookie": cookie}, with_token=False).status == 200


@pytest.mark.parametrize("body", [{"token": "wrong"}, {"token": 7}, {}, [], b"{", b"\xff"])
def test_a_wrong_login_is_told_so(asker: Asker, body: object) -> None:
    answer = asker.ask("/api/login", "POST", body, {"X-Shoal": "1"}, with_token=False)
    assert answer.status in (400, 401)
    assert "set-cookie" not in answer.headers
    assert "Traceback" not in answer.body.decode()


def test_a_stale_or_forged_cookie_is_refused_with_the_reason(asker: Asker) -> None:
    good = asker.cookie()
    name, _, value = good.partition("=")
    for given in (value[:-1], "x" + value, "1.2.3", "..", ""):
        answer = asker.ask("/api/version", headers={"Cookie": f"{name}={given}"}, with_token=False)
        assert answer.status == 401, given
        assert answer.json["error"] == "stale"


def test_a_cookie_ends_and_is_no_other_sessions() -> None:
    keys = Keys("a" * 64, 8265)
    assert keys.check_cookie(keys.make_cookie())
    assert not keys.check_cookie(keys.make_cookie(time.time() - COOKIE_SECONDS - 1))
    assert not Keys("b" * 64, 8265).check_cookie(keys.make_cookie())
    assert Keys("a" * 64, 8266).cookie != keys.cookie


def test_another_sites_page_cannot_change_anything(asker: Asker) -> None:
    cookie = {"Cookie": asker.cookie()}
    plain = asker.ask("/api/logout", "POST", {}, cookie, with_token=False)
    assert plain.status == 403
    foreign = {**cookie, "X-Shoal": "1", "Origin": "http://evil.example"}
    assert asker.ask("/api/logout", "POST", {}, foreign, with_token=False).status == 403
    own = {**cookie, "X-Shoal": "1", "Origin": asker.url}
    assert asker.ask("/api/logout", "POST", {}, own, with_token=False).status == 200
    # A program that shows the token is nobody's page.
    assert asker.ask("/api/logout", "POST", {}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8265", "127.0.0.1.evil.example", "", "a b"])
def test_a_name_that_was_made_to_lead_here_is_refused(asker: Asker, host: str) -> None:
    answer = asker.ask("/api/version", headers={"Host": host})
    assert answer.status in (400, 421)


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:1", "[::1]:8265", "192.0.2.7:8265"])
def test_a_tunnel_under_another_port_works(asker: Asker, host: str) -> None:
    assert asker.ask("/api/version", headers={"Host": host}).status == 200


def test_bodies_and_headers_are_bounded(asker: Asker) -> None:
    big = b"x" * (BODY_BYTES + 1)
    assert asker.ask("/api/login", "POST", big).status == 413
    connection = http.client.HTTPConnection(asker.host, timeout=30)
    headers = {"Transfer-Encoding": "chunked", "X-Shoal": "1"}
    # The server may answer, and hang up, before all is sent.
    parts = iter([b"%x\r\n%b\r\n" % (len(big), big), b"0\r\n\r\n"])
    try:
        connection.request("POST", "/api/login", parts, headers)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        connection.close()
    assert asker.ask("/healthz", headers={"X-Long": "x" * 40_000}).status in (400, 431)
    assert asker.ask("/api/login", "POST", {"token": asker.token}, {"X-Shoal": "1"}).status == 200


def test_browsers_are_told_to_let_nobody_else_in(asker: Asker) -> None:
    for path in ("/", "/api/version", "/api/nothing"):
        headers = asker.ask(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert asker.ask("/api/version").headers["cache-control"] == "no-store"


def test_what_is_not_there_is_said_in_json_and_without_a_trace(asker: Asker) -> None:
    for path, method, status in (("/api/nothing", "GET", 404), ("/api/version", "DELETE", 405)):
        answer = asker.ask(path, method)
        assert answer.status == status
        assert answer.json["error"]


def test_the_document_describes_what_is_served(asker: Asker) -> None:
    document = asker.ask("/api/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert {"/healthz", "/api/version", "/api/login"} <= set(document["paths"])
    for path, described in document["paths"].items():
        if "get" in described and "{" not in path:
            assert asker.ask(path).status in described_statuses(described["get"]), path


def described_statuses(operation: dict[str, dict[str, object]]) -> set[int]:
    """Return the statuses that the document lets an operation answer with."""
    return {int(status) for status in operation["responses"]}

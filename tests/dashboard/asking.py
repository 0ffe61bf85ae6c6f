"""Asking a dashboard's server as programs and browsers do, with every header in the test's hands."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import attrs


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.frozen
class Asker:
    """Asks the server at `url`."""

    url: str
    token: str = attrs.field(repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        with_token: bool = True,
    ) -> Answer:
        """Send one request; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        sent = {"Authorization": f"Bearer {self.token}"} if with_token else {}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def cookie(self) -> str:
        """Log in; return the header that browsers then send."""
        answer = self.ask("/api/login", "POST", {"token": self.token}, {"X-Shoal": "1"}, with_token=False)
        assert answer.status == 200, answer
        return answer.headers["set-cookie"].partition(";")[0]

"""Both ways of HTTP to replicas do what every ingress must."""

from __future__ import annotations

import pytest

from shoal.serve.testing import IngressContract

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.processes


class TestProxy(IngressContract):
    ingress = "proxy"


class TestDirect(IngressContract):
    ingress = "direct"

"""Death certificates as plain data, as messages carry them."""

from __future__ import annotations

from typing import Any

import attrs

from shoal.death import DeathCertificate


def plain_certificate(certificate: DeathCertificate | None) -> dict[str, Any] | None:
    """Return a certificate as plain data for a message."""
    if certificate is None:
        return None
    fields = attrs.asdict(certificate)
    fields["cause"] = certificate.cause.value
    fields["last_lines"] = list(certificate.last_lines)
    return fields

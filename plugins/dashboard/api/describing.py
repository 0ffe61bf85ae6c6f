"""Operations of the OpenAPI document, in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_REFUSALS = {
    401: "The token is missing or wrong.",
    503: "The session does not answer.",
    504: "It is too busy.",
}


def operation(
    summary: str,
    path: Mapping[str, Sequence[str]] | None = None,
    query: Mapping[str, str] | None = None,
    statuses: Mapping[int, str] | None = None,
    method: str = "get",
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a path's item. `path` are the words that parameters may be, none for any; `query` what parameters mean.

    Example: `{"/api/overview": operation("Counts as of now.")}`
    """
    parameters: list[dict[str, Any]] = []
    for name, words in (path or {}).items():
        schema: dict[str, Any] = {"type": "string", **({"enum": list(words)} if words else {})}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    for name, text in (query or {}).items():
        parameters.append({"name": name, "in": "query", "description": text, "schema": {"type": "string"}})
    content = {"application/json": {"schema": {"type": "object"}}}
    if method != "get":
        statuses = {
            403: "It came from another site's page.",
            413: "The body is too large.",
            **(statuses or {}),
        }
    refusals = {**_REFUSALS, **({400: "A parameter is wrong."} if query or body else {}), **(statuses or {})}
    made: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "It.", "content": content},
            **{str(status): {"description": text} for status, text in sorted(refusals.items())},
        },
    }
    if parameters:
        made["parameters"] = parameters
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(body)}}}
    return {method: made}

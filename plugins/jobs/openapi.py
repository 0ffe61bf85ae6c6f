"""The part of the OpenAPI document that tells of jobs."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MAYBE_NUMBER = {"type": ["number", "null"], "minimum": 0}
_MAYBE_TIME = {"type": ["integer", "null"], "description": "milliseconds since the epoch"}
_STATUS = {"type": "string", "enum": ["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]}


def _json(schema: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _problem(description: str) -> dict[str, Any]:
    return _json(_ref("JobProblem"), description)


def _answers(answer: dict[str, Any], *statuses: int) -> dict[str, Any]:
    words = {
        401: "The token is missing or wrong.",
        403: "The request comes from another site's page, or has no X-Shoal header.",
        400: "The request is wrong; the error says how.",
        404: "There is no such thing.",
        409: "The job's state does not allow it, or its identifier is taken.",
        413: "The body is too large.",
        503: "The cluster cannot be reached, or takes no jobs.",
    }
    return {"200": answer, **{str(status): _problem(words[status]) for status in (*statuses, 401, 403, 503)}}


_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The submission's identifier.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "SHA-256 of the file in hexadecimal, and .zip",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}\\.zip$"},
}
_DONE = {"type": "object", "additionalProperties": {"type": "boolean"}}

PATHS: dict[str, Any] = {
    "/api/jobs/": {
        "get": {
            "summary": "List jobs, and drivers that were not submitted",
            "operationId": "listJobs",
            "responses": _answers(_json({"type": "array", "items": _ref("JobDetails")}, "All of them.")),
        },
        "post": {
            "summary": "Submit a job",
            "operationId": "submitJob",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _ref("JobSubmission")}},
            },
            "responses": _answers(
                _json(
                    {
                        "type": "object",
                        "required": ["submission_id"],
                        "properties": {"job_id": _TEXT, "submission_id": _TEXT},
                    },
                    "The job is submitted; `job_id` is the older name of its identifier.",
                ),
                400,
                409,
                413,
            ),
        },
    },
    "/api/jobs/{id}": {
        "parameters": [_ID],
        "get": {
            "summary": "Tell how a job stands",
            "operationId": "getJob",
            "responses": _answers(_json(_ref("JobDetails"), "The job."), 404),
        },
        "delete": {
            "summary": "Forget a job that is over",
            "operationId": "deleteJob",
            "responses": _answers(_json(_DONE, "It is forgotten."), 404, 409),
        },
    },
    "/api/jobs/{id}/stop": {
        "parameters": [_ID],
        "post": {
            "summary": "Ask a job to stop",
            "operationId": "stopJob",
            "responses": _answers(_json(_DONE, "Whether it was running or waiting."), 404),
        },
    },
    "/api/jobs/{id}/logs": {
        "parameters": [_ID],
        "get": {
            "summary": "The end of what a job has printed",
            "operationId": "getJobLogs",
            "responses": _answers(
                _json(
                    {
                        "type": "object",
                        "required": ["logs", "omitted_bytes"],
                        "properties": {"logs": _TEXT, "omitted_bytes": {"type": "integer"}},
                    },
                    "At most 8 MiB, and how many bytes came before.",
                ),
                404,
            ),
        },
    },
    "/api/jobs/{id}/logs/tail": {
        "parameters": [
            _ID,
            {
                "name": "follow",
                "in": "query",
                "description": "Go on until the job is over.",
                "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
            },
        ],
        "get": {
            "summary": "What a job has printed, as a stream",
            "operationId": "tailJobLogs",
            "responses": _answers(
                {"description": "The log.", "content": {"text/plain": {"schema": _TEXT}}}, 400, 404
            ),
        },
    },
    "/api/packages/{name}": {
        "parameters": [_NAME],
        "get": {
            "summary": "Tell whether a package needs not be sent",
            "operationId": "hasPackage",
            "responses": _answers(_json(_DONE, "It is there."), 400, 404),
        },
        "put": {
            "summary": "Send a package: a .zip file of a job's environment",
            "operationId": "putPackage",
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            },
            "responses": _answers(_json(_DONE, "It is there."), 400, 413),
        },
    },
}

SCHEMAS: dict[str, Any] = {
    "JobProblem": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": _TEXT, "type": _TEXT},
    },
    "JobSubmission": {
        "type": "object",
        "required": ["entrypoint"],
        "additionalProperties": False,
        "properties": {
            "entrypoint": {
                "type": "string",
                "minLength": 1,
                "description": "A command, run without a shell.",
                "example": "python -c 'print(1)'",
            },
            "submission_id": _MAYBE_TEXT,
            "job_id": {**_MAYBE_TEXT, "description": "The older name of submission_id."},
            "runtime_env": {"type": ["object", "null"]},
            "metadata": {"type": ["object", "null"], "additionalProperties": _TEXT},
            "entrypoint_num_cpus": _MAYBE_NUMBER,
            "entrypoint_num_gpus": _MAYBE_NUMBER,
            "entrypoint_memory": {"type": ["integer", "null"], "minimum": 0, "description": "bytes"},
            "entrypoint_resources": {
                "type": ["object", "null"],
                "additionalProperties": {"type": "number", "minimum": 0},
            },
            "entrypoint_label_selector": {"type": ["object", "null"], "additionalProperties": _TEXT},
        },
    },
    "JobDetails": {
        "type": "object",
        "required": ["type", "status", "entrypoint"],
        "properties": {
            "type": {"type": "string", "enum": ["SUBMISSION", "DRIVER"]},
            "job_id": _MAYBE_TEXT,
            "submission_id": _MAYBE_TEXT,
            "driver_info": {
                "type": ["object", "null"],
                "properties": {"id": _TEXT, "node_ip_address": _TEXT, "pid": _TEXT},
            },
            "status": _STATUS,
            "entrypoint": _TEXT,
            "message": _MAYBE_TEXT,
            "error_type": _MAYBE_TEXT,
            "start_time": _MAYBE_TIME,
            "end_time": _MAYBE_TIME,
            "metadata": {"type": ["object", "null"]},
            "runtime_env": {"type": ["object", "null"]},
            "driver_agent_http_address": _MAYBE_TEXT,
            "driver_node_id": _MAYBE_TEXT,
            "driver_exit_code": {"type": ["integer", "null"]},
        },
    },
}

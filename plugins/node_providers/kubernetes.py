"""KubernetesNodes: every machine is a pod."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, NodeProviderError, describe
from shoal.interfaces.nodes import (
    GONE,
    PENDING,
    RUNNING,
    STOPPING,
    Machine,
    NodeProvider,
    NodeStart,
    NodeType,
    machine_name,
)

_CLUSTER, _TYPE = "shoal.io/cluster", "shoal.io/node-type"  # labels of our pods
_CREDENTIALS = "/etc/shoal-credentials/credentials"
_PAGE = 500  # pods in one answer of the API server
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class KubernetesNodes(NodeProvider):
    """Pods of one namespace, made from a template: the API server is the only thing it speaks to.

    Options: `namespace` (default); `image`, which has shoal (required, here or in a type's template); `secret`
    (shoal), the name of a Secret with the cluster's credentials file under the key `credentials`;
    `service_account`, of the pods; `kubeconfig` and `context`, for outside of a cluster: inside, the pod's own account
    is used; `api_server` with `token`, instead of both; `seconds` (30) for one answer. Options of a node type: `image`;
    `pod`, a table that is merged into the pod's manifest (tolerations, volumes, …); `requests`, resources of the
    container beyond its CPUs, GPUs (as `nvidia.com/gpu`) and memory, which follow from the type's.
    """

    name: ClassVar[str] = "kubernetes"
    __slots__ = ("_client", "_cluster", "_core", "_given", "_start")

    @attrs.frozen(kw_only=True)
    class Options:
        """What `[provider]` may say."""

        namespace: str = "default"
        image: str = ""
        secret: str = "shoal"
        service_account: str = ""
        kubeconfig: str = ""
        context: str = ""
        api_server: str = ""
        token: str = attrs.field(default="", repr=False)
        seconds: float = 30.0

    def __init__(self, cluster: str, start: NodeStart, options: Mapping[str, Any] | None = None) -> None:
        try:
            given = self.Options(**dict(options or {}))
        except TypeError as error:
            known = ", ".join(field.name for field in attrs.fields(self.Options))
            raise ConfigError(f"the node provider 'kubernetes' has the options {known}: {error}") from None
        for field in attrs.fields(self.Options):
            if field.name != "seconds" and not isinstance(getattr(given, field.name), str):
                raise ConfigError(f"{field.name} of the node provider 'kubernetes' must be text")
        seconds: object = given.seconds
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds <= 0:
            raise ConfigError(
                f"seconds of the node provider 'kubernetes' must be a number above 0, not {describe(seconds)}"
            )
        self._cluster, self._start, self._given = cluster, start, given
        self._client: Any = None
        self._core: Any = None

    def _api(self) -> Any:
        """Return the client, made at first use. Raises NodeProviderError."""
        if self._core is not None:
            return self._core
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise NodeProviderError(
                self.name, "begin", "install shoal[kubernetes]", permanent=True
            ) from error
        given = self._given
        try:
            if given.api_server:
                settings = client.Configuration(host=given.api_server)
                if given.token:
                    settings.api_key["authorization"] = f"Bearer {given.token}"
            elif given.kubeconfig or given.context:
                settings = client.Configuration()
                config.load_kube_config(
                    given.kubeconfig or None, given.context or None, client_configuration=settings
                )
            else:
                settings = client.Configuration()
                config.load_incluster_config(client_configuration=settings)
        except config.ConfigException as error:
            raise NodeProviderError(self.name, "find the API server", str(error), permanent=True) from error
        settings.retries = 0  # the autoscaler tries again by itself, and says so
        self._client = client.ApiClient(settings)
        self._core = client.CoreV1Api(self._client)
        return self._core

    def _call(self, doing: str, method: str, *arguments: Any, **named: Any) -> Any:
        """Call the API server. Raises NodeProviderError, KeyError for what is not there."""
        core = self._api()
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return getattr(core, method)(*arguments, _request_timeout=self._given.seconds, **named)
        except ApiException as error:
            if error.status == 404:
                raise KeyError(doing) from None
            if error.status == 409:
                return None  # it is there already
            # Forbidden by quota may be allowed later; what is malformed or not allowed at all will not be.
            quota = "exceeded quota" in str(error.body)
            permanent = error.status in (400, 401, 422) or (error.status == 403 and not quota)
            raise NodeProviderError(self.name, doing, _why(error), permanent) from error
        except (HTTPError, OSError) as error:
            raise NodeProviderError(self.name, doing, f"{type(error).__name__}: {error}") from error

    def check_type(self, node_type: NodeType) -> None:
        where = f"node type {node_type.name!r}"
        if unknown := sorted(node_type.options.keys() - {"image", "pod", "requests"}):
            raise ConfigError(
                f"{where}: the node provider 'kubernetes' has no option {unknown} for types; "
                "it has image, pod, requests"
            )
        for option in ("pod", "requests"):
            if not isinstance(node_type.options.get(option, {}), Mapping):
                raise ConfigError(f"{where}: {option} must be a table")
        if not isinstance(node_type.options.get("image", ""), str):
            raise ConfigError(f"{where}: image must be text")
        if not self._given.image and not node_type.options.get("image"):
            raise ConfigError(f"{where}: no image is given, neither for it nor for the provider")

    def launch(self, node_type: NodeType, count: int, key: str) -> list[Machine]:
        if count < 1:
            raise ValueError(f"at least one machine is launched, not {count}")
        found: list[Machine] = []
        for index in range(count):
            name = machine_name(key, index)
            try:
                self._call(
                    f"make the pod {self._pod_name(name)}",
                    "create_namespaced_pod",
                    self._given.namespace,
                    self.manifest(node_type, name),
                )
                found.append(self.describe(name))
            except KeyError:
                why = f"there is no namespace {self._given.namespace!r}, or the pod went at once"
                if not found:
                    raise NodeProviderError(self.name, f"launch {name}", why) from None
                break
            except NodeProviderError:
                if not found:
                    raise
                break  # fewer is an answer
        return found

    def _pod_name(self, machine_id: str) -> str:
        return f"{self._cluster}-{machine_id}"

    def manifest(self, node_type: NodeType, machine_id: str) -> dict[str, Any]:
        """Return the manifest of a machine's pod, as `kubectl apply` would take it."""
        given = self._given
        limits: dict[str, str] = {
            name: str(text) for name, text in node_type.options.get("requests", {}).items()
        }
        for name, amount in node_type.resources.to_floats().items():
            if name == "CPU":
                limits["cpu"] = f"{amount:g}"
            elif name == "GPU":
                limits["nvidia.com/gpu"] = f"{amount:g}"
            elif name == "memory":
                limits["memory"] = str(int(amount))
        words = self._start.words(machine_id, node_type, _CREDENTIALS, "$(POD_IP)")
        address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        container = {
            "name": "node",
            "image": node_type.options.get("image") or given.image,
            "command": ["shoal", *words],
            "env": [address],
            "resources": {"requests": limits, "limits": limits},
            "volumeMounts": [
                {"name": "credentials", "mountPath": "/etc/shoal-credentials", "readOnly": True},
                {"name": "shm", "mountPath": "/dev/shm"},
            ],
        }
        spec: dict[str, Any] = {
            "restartPolicy": "Never",  # a machine that has died is replaced by another one
            "terminationGracePeriodSeconds": 30,
            "containers": [container],
            # Whatever user the image has may read the secret, which is root's and this group's.
            "securityContext": {"fsGroup": 1000},
            "volumes": [
                {"name": "credentials", "secret": {"secretName": given.secret, "defaultMode": 0o440}},
                {
                    "name": "shm",
                    "emptyDir": {"medium": "Memory"},
                },  # objects are there; what is usual is 64 MiB
            ],
        }
        if given.service_account:
            spec["serviceAccountName"] = given.service_account
        labels = {_CLUSTER: self._cluster, _TYPE: node_type.name, "app.kubernetes.io/name": "shoal"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self._pod_name(machine_id),
                "labels": labels,
                "annotations": {"shoal.io/machine": machine_id},
            },
            "spec": spec,
        }
        return _merged(pod, node_type.options.get("pod", {}))

    def machines(self) -> list[Machine]:
        found: list[Machine] = []
        more: dict[str, Any] = {}
        while True:
            try:
                page = self._call(
                    "list pods",
                    "list_namespaced_pod",
                    self._given.namespace,
                    label_selector=f"{_CLUSTER}={self._cluster}",
                    limit=_PAGE,
                    **more,
                )
            except KeyError:
                raise NodeProviderError(
                    self.name, "list pods", "the API server knows no pods there"
                ) from None
            found += [_machine(pod) for pod in page.items]
            if not page.metadata._continue:
                return found
            more = {"_continue": page.metadata._continue}

    def describe(self, machine_id: str) -> Machine:
        if not _NAME.fullmatch(machine_id):
            raise KeyError(machine_id)
        pod = self._call(
            "read a pod", "read_namespaced_pod", self._pod_name(machine_id), self._given.namespace
        )
        if (pod.metadata.labels or {}).get(_CLUSTER) != self._cluster:
            raise KeyError(machine_id)
        return _machine(pod)

    def terminate(self, machine_ids: Sequence[str]) -> None:
        failure: NodeProviderError | None = None
        for machine_id in machine_ids:
            try:
                self.describe(machine_id)  # never a pod of somebody else
                name = self._pod_name(machine_id)
                self._call("delete a pod", "delete_namespaced_pod", name, self._given.namespace)
            except KeyError:
                continue
            except NodeProviderError as error:
                failure = error
        if failure is not None:
            raise failure

    def close(self) -> None:
        client, self._client, self._core = self._client, None, None
        if client is not None:
            client.close()
            client.rest_client.pool_manager.clear()


def _machine(pod: Any) -> Machine:
    status, metadata = pod.status, pod.metadata
    phase = (status.phase if status is not None else None) or "Pending"
    if metadata.deletion_timestamp is not None:
        state = STOPPING
    elif phase in ("Succeeded", "Failed"):
        state = GONE
    else:
        state = RUNNING if phase == "Running" else PENDING
    return Machine(
        machine_id=(metadata.annotations or {}).get("shoal.io/machine", metadata.name),
        node_type=(metadata.labels or {}).get(_TYPE, ""),
        state=state,
        place=f"pod {metadata.name}",
        address=(status.pod_ip if status is not None else None) or "",
        reason=_reason(status),
    )


def _reason(status: Any) -> str:
    """Return what Kubernetes says of a pod that does not run: of its container, its placement, or itself."""
    if status is None:
        return ""
    parts = [text for text in (status.reason, status.message) if text]
    for one in status.container_statuses or ():
        for state in (one.state.waiting, one.state.terminated) if one.state is not None else ():
            if state is not None:
                parts += [text for text in (state.reason, state.message) if text]
    parts += [one.message for one in status.conditions or () if one.status == "False" and one.message]
    return "; ".join(dict.fromkeys(parts))


def _why(error: Any) -> str:
    """Return the message of an answer of the API server."""
    import json

    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the tables of `more` merged into its own; lists are joined, all else is replaced."""
    found = copy.deepcopy(dict(base))
    for key, value in more.items():
        there = found.get(key)
        if isinstance(value, Mapping) and isinstance(there, dict):
            found[key] = _merged(there, value)
        elif isinstance(value, list) and isinstance(there, list) and key != "containers":
            found[key] = [*there, *copy.deepcopy(value)]
        elif key == "containers" and isinstance(value, list) and value:
            # The first one is ours: what is said of it is merged into it, others stand beside it.
            found[key] = [_merged(there[0], value[0]), *copy.deepcopy(value[1:])]  # type: ignore[index]
        else:
            found[key] = copy.deepcopy(value)
    return found

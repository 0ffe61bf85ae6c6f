"""Ec2Nodes: every machine is an instance of Amazon EC2, or of what speaks its language."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
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

_CLUSTER, _TYPE, _MACHINE = "shoal:cluster", "shoal:node-type", "shoal:machine"  # tags of our instances
_STATES = {
    "pending": PENDING,
    "running": RUNNING,
    "shutting-down": STOPPING,
    "stopping": STOPPING,
    "stopped": GONE,  # nothing of ours starts it again
    "terminated": GONE,
}
_PERMANENT = ("Invalid", "Unsupported", "Missing", "UnauthorizedOperation", "AuthFailure", "Malformed")
_CREDENTIALS = "/run/shoal/credentials"
_TYPE_OPTIONS = {"instance_type", "image", "subnets", "spot", "run_instances"}
# What instances must not be told: it would end them, start others, or give them to another cluster.
_OURS = {"ClientToken", "MaxCount", "MinCount", "TagSpecifications", "UserData"}


class Ec2Nodes(NodeProvider):
    """Instances of one region, launched one by one with a token of their own, so that a launch can be tried again.

    Options: `region` (required); `image`, an AMI with shoal; `key_name`, `security_groups` (identifiers), `subnets`
    (identifiers, taken in turn until one has room); `instance_profile`, an IAM profile's name; `credentials_command`,
    what an instance runs to print the cluster's credentials, such as `aws secretsmanager get-secret-value …`: user data
    can be read by whoever may describe instances, so the secret is never in it (required); `setup_commands`, what an
    instance runs first; `shoal` (shoal), the command there; `endpoint`, another address of the service; `profile`, of
    the machine's own AWS settings; `seconds` (20) for one answer. Options of a node type: `instance_type` (required),
    `image`, `subnets`, `spot` (false), `run_instances`: a table that is merged into the call of RunInstances.

    Who this process is, boto3 finds as always: environment, ~/.aws, the instance's role.
    """

    name: ClassVar[str] = "ec2"
    __slots__ = ("_client", "_cluster", "_given", "_start")

    @attrs.frozen(kw_only=True)
    class Options:
        """What `[provider]` may say."""

        region: str
        credentials_command: str
        image: str = ""
        key_name: str = ""
        security_groups: Sequence[str] = ()
        subnets: Sequence[str] = ()
        instance_profile: str = ""
        setup_commands: Sequence[str] = ()
        shoal: str = "shoal"
        endpoint: str = ""
        profile: str = ""
        seconds: float = 20.0

    def __init__(self, cluster: str, start: NodeStart, options: Mapping[str, Any] | None = None) -> None:
        try:
            given = self.Options(**dict(options or {}))
        except TypeError as error:
            known = ", ".join(field.name for field in attrs.fields(self.Options))
            raise ConfigError(
                f"the node provider 'ec2' has the options {known}, and needs region and credentials_command: {error}"
            ) from None
        for field in attrs.fields(self.Options):
            value = getattr(given, field.name)
            if field.name in ("security_groups", "subnets", "setup_commands"):
                if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
                    raise ConfigError(
                        f"{field.name} of the node provider 'ec2' is a list of texts, not {describe(value)}"
                    )
            elif field.name == "seconds":
                if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                    raise ConfigError(
                        f"seconds of the node provider 'ec2' is a number above 0, not {describe(value)}"
                    )
            elif not isinstance(value, str) or (
                field.name in ("region", "credentials_command") and not value
            ):
                raise ConfigError(f"{field.name} of the node provider 'ec2' is text, not {describe(value)}")
        self._cluster, self._start, self._given = cluster, start, given
        self._client: Any = None

    def _api(self) -> Any:
        """Return the client, made at first use. Raises NodeProviderError."""
        if self._client is not None:
            return self._client
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise NodeProviderError(self.name, "begin", "install shoal[ec2]", permanent=True) from error
        given = self._given
        bounds = Config(
            connect_timeout=given.seconds,
            read_timeout=given.seconds,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        try:
            session = boto3.Session(profile_name=given.profile or None, region_name=given.region)
            self._client = session.client("ec2", endpoint_url=given.endpoint or None, config=bounds)
        except (BotoCoreError, ValueError) as error:
            raise NodeProviderError(self.name, "begin", str(error), permanent=True) from error
        return self._client

    def _call(self, doing: str, method: str, **arguments: Any) -> Any:
        """Call the service. Raises NodeProviderError."""
        client = self._api()
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(client, method)(**arguments)
        except ClientError as error:
            told = error.response.get("Error", {})
            code = str(told.get("Code", ""))
            permanent = code.startswith(_PERMANENT)
            raise NodeProviderError(
                self.name, doing, f"{code}: {told.get('Message', error)}", permanent
            ) from error
        except BotoCoreError as error:
            permanent = type(error).__name__ in ("NoCredentialsError", "ParamValidationError")
            raise NodeProviderError(self.name, doing, str(error), permanent) from error

    def check_type(self, node_type: NodeType) -> None:
        where = f"node type {node_type.name!r}"
        options = node_type.options
        if unknown := sorted(options.keys() - _TYPE_OPTIONS):
            raise ConfigError(
                f"{where}: the node provider 'ec2' has no option {unknown} for types; it has "
                f"{', '.join(sorted(_TYPE_OPTIONS))}"
            )
        if not isinstance(options.get("instance_type"), str):
            raise ConfigError(f"{where}: instance_type, such as 'm6i.large', is missing")
        if not options.get("image") and not self._given.image:
            raise ConfigError(f"{where}: no image (an AMI) is given, neither for it nor for the provider")
        if not isinstance(options.get("spot", False), bool):
            raise ConfigError(f"{where}: spot must be true or false, not {describe(options['spot'])}")
        more = options.get("run_instances", {})
        if not isinstance(more, Mapping) or _OURS & more.keys():
            raise ConfigError(f"{where}: run_instances is a table without {', '.join(sorted(_OURS))}")

    def launch(self, node_type: NodeType, count: int, key: str) -> list[Machine]:
        if count < 1:
            raise ValueError(f"at least one machine is launched, not {count}")
        found: list[Machine] = []
        # The token alone is not enough: an earlier try may have ended in another subnet.
        there = {one.machine_id: one for one in self.machines()}
        for index in range(count):
            name = machine_name(key, index)
            try:
                found.append(there[name] if name in there else self._launch(node_type, name))
            except NodeProviderError:
                if not found:
                    raise
                break  # fewer is an answer
        return found

    def _launch(self, node_type: NodeType, machine_id: str) -> Machine:
        subnets = list(node_type.options.get("subnets", self._given.subnets)) or [""]
        for index, subnet in enumerate(subnets):
            try:
                answer = self._call(
                    f"launch {machine_id}", "run_instances", **self.request(node_type, machine_id, subnet)
                )
            except NodeProviderError as error:
                if "InsufficientInstanceCapacity" not in error.why or index == len(subnets) - 1:
                    raise
                continue  # another zone may have some
            return _machine(answer["Instances"][0])
        raise AssertionError("there is always a subnet to try")

    def request(self, node_type: NodeType, machine_id: str, subnet: str = "") -> dict[str, Any]:
        """Return the arguments of RunInstances for one machine."""
        given, options = self._given, node_type.options
        tags = {
            _CLUSTER: self._cluster,
            _TYPE: node_type.name,
            _MACHINE: machine_id,
            "Name": f"{self._cluster} {machine_id}",
        }
        listed = [{"Key": name, "Value": value} for name, value in tags.items()]
        found: dict[str, Any] = {
            "ImageId": options.get("image") or given.image,
            "InstanceType": options["instance_type"],
            "MinCount": 1,
            "MaxCount": 1,
            # One subnet is one question: the same token with another would be refused.
            "ClientToken": hashlib.sha256(f"{self._cluster}/{machine_id}/{subnet}".encode()).hexdigest(),
            "UserData": self.user_data(node_type, machine_id),
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required"},
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": listed},
                {"ResourceType": "volume", "Tags": listed},
            ],
        }
        if given.key_name:
            found["KeyName"] = given.key_name
        if given.security_groups:
            found["SecurityGroupIds"] = list(given.security_groups)
        if subnet:
            found["SubnetId"] = subnet
        if given.instance_profile:
            found["IamInstanceProfile"] = {"Name": given.instance_profile}
        if options.get("spot"):
            found["InstanceMarketOptions"] = {"MarketType": "spot"}
        return {**found, **options.get("run_instances", {})}

    def user_data(self, node_type: NodeType, machine_id: str) -> str:
        """Return the script that an instance runs when it is up. It ends the instance when the node ends."""
        words = self._start.words(machine_id, node_type, _CREDENTIALS, "0.0.0.0")
        lines = [
            "#!/bin/bash",
            "trap 'shutdown -h now' EXIT",  # whatever happens, it is not paid for without a node
            "set -euo pipefail",
            "umask 077",
            *self._given.setup_commands,
            "mkdir -p /run/shoal",
            f"{self._given.credentials_command} > {_CREDENTIALS}",
            shlex.join([*shlex.split(self._given.shoal), *words]),
        ]
        return "\n".join(lines) + "\n"

    def machines(self) -> list[Machine]:
        return [_machine(one) for one in self._instances([])]

    def _instances(self, filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        ours = [{"Name": f"tag:{_CLUSTER}", "Values": [self._cluster]}, *filters]
        more: dict[str, Any] = {}
        while True:
            page = self._call("list instances", "describe_instances", Filters=ours, MaxResults=1000, **more)
            for reservation in page["Reservations"]:
                # Terminated ones are listed for an hour and cannot be forgotten sooner: they are no machines any more.
                yield from (one for one in reservation["Instances"] if one["State"]["Name"] != "terminated")
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def describe(self, machine_id: str) -> Machine:
        for one in self._instances([{"Name": f"tag:{_MACHINE}", "Values": [machine_id]}]):
            if _tags(one).get(_MACHINE) == machine_id:  # a filter's * and ? stand for others
                return _machine(one)
        raise KeyError(machine_id)

    def terminate(self, machine_ids: Sequence[str]) -> None:
        if not machine_ids:
            return
        wanted = set(machine_ids)
        found = [one["InstanceId"] for one in self._instances([]) if _tags(one).get(_MACHINE) in wanted]
        if found:
            self._call("end instances", "terminate_instances", InstanceIds=found)

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _tags(instance: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance.get("Tags", ())}


def _machine(instance: Mapping[str, Any]) -> Machine:
    tags = _tags(instance)
    return Machine(
        machine_id=tags.get(_MACHINE, instance["InstanceId"]),
        node_type=tags.get(_TYPE, ""),
        state=_STATES[instance["State"]["Name"]],
        place=instance["InstanceId"],
        address=instance.get("PrivateIpAddress", ""),
        reason=(instance.get("StateReason") or {}).get("Message", ""),
    )

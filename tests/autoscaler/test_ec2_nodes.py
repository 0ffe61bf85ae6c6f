"""The provider `ec2`: boto3 over HTTP, against a server that speaks EC2."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from real_servers import s3_server

from shoal.errors import ConfigError, NodeProviderError
from shoal.interfaces.nodes import RUNNING, NodeStart, NodeType
from shoal.node_providers.ec2 import Ec2Nodes
from shoal.spec.resources import ResourceSet
from shoal.testing.nodes import Make, NodeProviderContract

pytestmark = pytest.mark.slow  # the server reads all images that there are, for 15 seconds
START = NodeStart(head_address="10.0.0.1:6389", credentials_file="/somewhere/credentials")
FETCH = "aws secretsmanager get-secret-value --secret-id shoal --query SecretString --output text"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server of AWS's interfaces, EC2's among them."""
    with pytest.MonkeyPatch.context() as patched, s3_server() as address:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.setenv(name, "testing")
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patched.delenv("AWS_PROFILE", raising=False)
        yield address


@pytest.fixture(scope="module")
def client(endpoint: str) -> Iterator[Any]:
    client = boto3.client("ec2", region_name="eu-west-1", endpoint_url=endpoint)
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(client: Any) -> str:
    return str(client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"])


@pytest.fixture
def options(endpoint: str, image: str) -> dict[str, Any]:
    return {"region": "eu-west-1", "endpoint": endpoint, "image": image, "credentials_command": FETCH}


@pytest.fixture
def small() -> NodeType:
    return NodeType(name="small", resources=ResourceSet.of(CPU=2), options={"instance_type": "t3.small"})


@pytest.fixture
def nodes(options: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[Ec2Nodes]:
    nodes = Ec2Nodes(f"c-{abs(hash(request.node.nodeid))}", START, options)
    yield nodes
    nodes.terminate([one.machine_id for one in nodes.machines()])
    nodes.close()


class TestEc2(NodeProviderContract):
    @pytest.fixture
    def make(self, options: dict[str, Any]) -> Make:
        return lambda cluster, start: Ec2Nodes(cluster, start, options)

    @pytest.fixture
    def node_type(self, small: NodeType) -> NodeType:
        return small


def test_an_instance_is_tagged_and_told_what_to_run(client: Any, nodes: Ec2Nodes, small: NodeType) -> None:
    [machine] = nodes.launch(small, 1, "k")
    assert machine.state in (RUNNING, "PENDING")
    assert machine.address
    [reservation] = client.describe_instances(InstanceIds=[machine.place])["Reservations"]
    [instance] = reservation["Instances"]
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags["shoal:machine"] == "k-0"
    assert tags["shoal:node-type"] == "small"
    answer = client.describe_instance_attribute(InstanceId=machine.place, Attribute="userData")
    script = base64.b64decode(answer["UserData"]["Value"]).decode()
    assert "--address 10.0.0.1:6389" in script
    assert FETCH in script
    assert "shutdown -h now" in script


def test_the_script_is_one_that_bash_takes(nodes: Ec2Nodes, small: NodeType) -> None:
    odd = NodeType(
        name="odd", resources=small.resources, labels={"a": "it's; $HOME `x`"}, options=small.options
    )
    script = nodes.user_data(odd, "k-0")
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    last = script.splitlines()[-1]
    said = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {last}"], capture_output=True, check=True, text=True
    )
    assert "it's; $HOME `x`" in said.stdout  # the shell takes nothing in it for its own
    assert os.environ["HOME"] + " " not in said.stdout


def test_what_is_asked_for_is_in_the_request(options: dict[str, Any], small: NodeType) -> None:
    nodes = Ec2Nodes(
        "c",
        START,
        {
            **options,
            "key_name": "k",
            "security_groups": ["sg-1"],
            "instance_profile": "p",
            "subnets": ["s-1"],
        },
    )
    spot = NodeType(
        name="spot",
        resources=small.resources,
        options={**small.options, "spot": True, "image": "ami-2", "run_instances": {"EbsOptimized": True}},
    )
    nodes.check_type(spot)
    request = nodes.request(spot, "k-0", "s-1")
    assert request["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert request["EbsOptimized"] is True
    assert request["ImageId"] == "ami-2"
    assert request["IamInstanceProfile"] == {"Name": "p"}
    assert (request["KeyName"], request["SecurityGroupIds"], request["SubnetId"]) == ("k", ["sg-1"], "s-1")
    again = nodes.request(spot, "k-0", "s-1")
    assert request["ClientToken"] == again["ClientToken"] != nodes.request(spot, "k-1", "s-1")["ClientToken"]
    assert request["MetadataOptions"] == {"HttpTokens": "required"}


def test_what_can_never_be_launched_is_permanent(options: dict[str, Any], small: NodeType) -> None:
    nodes = Ec2Nodes("c", START, {**options, "subnets": ["subnet-nosuch"]})
    with pytest.raises(NodeProviderError, match="InvalidSubnetID") as caught:
        nodes.launch(small, 1, "k")
    assert caught.value.permanent
    nodes.close()


def test_a_service_that_is_away_is_an_error_that_may_pass(options: dict[str, Any], small: NodeType) -> None:
    nodes = Ec2Nodes("c", START, {**options, "endpoint": "http://127.0.0.1:9", "seconds": 1})
    with pytest.raises(NodeProviderError, match=r"127\.0\.0\.1:9") as caught:
        nodes.machines()
    assert not caught.value.permanent
    nodes.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"region": ""},
        {"credentials_command": ""},
        {"subnets": "s-1"},
        {"security_groups": [1]},
        {"seconds": 0},
        {"image": 3},
        {"regoin": "x"},
    ],
)
def test_bad_options_of_ec2_are_refused(options: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'ec2'"):
        Ec2Nodes("c", START, {**options, **changes})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"instance_type": "t3.small", "spot": "yes"},
        {"instance_type": "t3.small", "run_instances": {"MaxCount": 9}},
        {"instance_type": "t3.small", "run_instances": []},
        {"instance_typ": "t3.small"},
    ],
)
def test_bad_options_of_types_of_instances_are_refused(
    options: dict[str, Any], given: dict[str, Any]
) -> None:
    nodes = Ec2Nodes("c", START, options)
    with pytest.raises(ConfigError, match="'small'"):
        nodes.check_type(NodeType(name="small", resources=ResourceSet.of(CPU=1), options=given))


def test_without_an_image_no_type_is_right(options: dict[str, Any], small: NodeType) -> None:
    del options["image"]
    with pytest.raises(ConfigError, match="image"):
        Ec2Nodes("c", START, options).check_type(small)

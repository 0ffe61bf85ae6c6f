"""The config file, the command line and the dashboard's API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from asking_services import until

import shoal
from shoal import serve
from shoal.cluster_utils import Cluster
from shoal.errors import ConfigError
from shoal.serve.api import controller_or_none
from shoal.serve.deploying import deploy_config
from shoal.serve.schema import read_config

SITE = """
from shoal import serve

@serve.deployment(user_config={"word": "hello"})
class Greeter:
    def __init__(self, mark):
        self.mark = mark

    def reconfigure(self, config):
        self.word = config["word"]

    def __call__(self, request):
        return self.word + self.mark

app = Greeter.bind("!")

def make(args):
    return Greeter.bind(args["mark"])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module that serves."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "site_of_words.py").write_text(SITE)
    return folder


def test_what_is_wrong_in_a_config_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"applications.0.import_path: Field required"):
        read_config({"applications": [{"name": "a"}]})
    with pytest.raises(ConfigError, match=r"applications.0.deployments.0.num_replica: Extra inputs"):
        read_config(
            {"applications": [{"import_path": "a:b", "deployments": [{"name": "D", "num_replica": 1}]}]}
        )
    with pytest.raises(ConfigError, match="two applications have the name 'default'"):
        read_config({"applications": [{"import_path": "a:b"}, {"import_path": "c:d", "route_prefix": "/c"}]})
    with pytest.raises(ConfigError, match="mapping"):
        read_config(["applications"])


@pytest.mark.processes
def test_a_config_is_all_there_is(client: httpx.Client, site: Path) -> None:
    environment = {"working_dir": str(site)}

    def config(*names: str, **changes: Any) -> Any:
        return read_config(
            {
                "applications": [
                    {
                        "name": name,
                        "route_prefix": f"/{name}",
                        "import_path": "site_of_words:make",
                        "args": {"mark": "?"},
                        "runtime_env": environment,
                        "deployments": [{"name": "Greeter", **changes}],
                    }
                    for name in names
                ]
            }
        )

    deploy_config(config("one", "two"))
    assert client.get("/one").text == client.get("/two").text == "hello?"
    deploy_config(config("two", user_config={"word": "bye"}))
    assert client.get("/two").text == "bye?"
    assert client.get("/one").status_code == 404
    misspelt = config("two").model_dump(exclude_unset=True)
    misspelt["applications"][0]["deployments"][0]["name"] = "Greter"
    with pytest.raises(ConfigError, match="has no deployment 'Greter'"):
        deploy_config(read_config(misspelt))
    elsewhere = config("two").model_dump(exclude_unset=True)
    elsewhere["applications"][0]["import_path"] = "site_of_nothing:app"
    with pytest.raises(ConfigError, match="no module"):
        deploy_config(read_config(elsewhere))
    assert client.get("/two").text == "bye?"
    told = shoal.get(controller_or_none().details.remote())
    assert [each["name"] for each in told["config"]["applications"]] == ["two"]
    deploy_config(read_config({"applications": []}))


def shell(
    *words: str, folder: Path, reach: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `shoal serve …`."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("shoal")), "serve", *words],
        cwd=folder,
        env=os.environ | dict(reach or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_config_is_built_from_code(site: Path) -> None:
    done = shell("build", "site_of_words:app", folder=site)
    assert done.returncode == 0, done.stderr
    config = read_config(yaml.safe_load(done.stdout))
    assert config.applications[0].deployments[0].user_config == {"word": "hello"}
    done = shell("build", "site_of_words:nothing", folder=site)
    assert done.returncode != 0
    assert "has no 'nothing'" in done.stderr


@pytest.mark.processes
def test_the_command_line_deploys_looks_and_ends(site: Path, tmp_path: Path) -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 4}) as cluster:
        reach = {
            "SHOAL_ADDRESS": cluster.address,
            "SHOAL_TEMP_DIR": cluster.init_arguments()["temp_dir"],
        }
        file = tmp_path / "config.yaml"
        file.write_text(
            yaml.safe_dump(
                {
                    "http_options": {"port": 0},
                    "applications": [
                        {
                            "import_path": "site_of_words:app",
                            "runtime_env": {"working_dir": str(site)},
                        }
                    ],
                }
            )
        )
        done = shell("deploy", str(file), "--json", folder=site, reach=reach)
        assert done.returncode == 0, done.stderr
        told = json.loads(shell("status", "--json", folder=site, reach=reach).stdout)
        assert told["applications"]["default"]["status"] == "RUNNING"
        told = json.loads(shell("config", "--json", folder=site, reach=reach).stdout)
        assert told["applications"][0]["import_path"] == "site_of_words:app"
        done = shell("shutdown", "-y", "--json", folder=site, reach=reach)
        assert json.loads(done.stdout) == {"ended": True}, done.stderr
        file.write_text("applications: [{}]")
        done = shell("deploy", str(file), folder=site, reach=reach)
        assert "import_path: Field required" in done.stderr


@pytest.mark.processes
def test_the_page_tells_of_what_is_served(client: httpx.Client) -> None:
    from shoal.serve.page import content
    from shoal.util.reports import told

    @serve.deployment
    class Word:
        def __call__(self, request: Any) -> str:
            return "word"

    serve.run(Word.bind(), name="words", route_prefix="/words")
    assert client.get("/words").text == "word"
    until(
        lambda: any(
            row[0] == "words" and row[4] == "HEALTHY" for row in content(told("serve"))["tables"][0]["rows"]
        )
    )


@pytest.mark.processes
def test_the_dashboard_deploys_looks_and_ends(site: Path) -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 4}) as cluster:
        assert cluster.head_node is not None
        found = json.loads(Path(cluster.head_node.folder, "dashboard.json").read_text())
        with httpx.Client(
            base_url=found["url"], headers={"Authorization": f"Bearer {found['token']}"}, timeout=60
        ) as asker:
            path = "/api/serve/applications/"
            assert asker.get(path).json()["applications"] == {}
            assert asker.put(path, json={"applications": [{}]}).status_code == 400
            config = {
                "http_options": {"port": 0},
                "applications": [
                    {"import_path": "site_of_words:app", "runtime_env": {"working_dir": str(site)}}
                ],
            }
            answer = asker.put(path, json=config)
            assert answer.status_code == 200, answer.text
            until(lambda: asker.get(path).json()["applications"]["default"]["status"] == "RUNNING")
            told = asker.get(path).json()
            [proxy] = told["proxies"].values()
            app = told["applications"]["default"]
            [(name, one)] = app["deployments"].items()
            assert app["source"] == "declarative"
            assert [each["state"] for each in one["replicas"]] == ["RUNNING"] * one["target_num_replicas"]
            assert one["deployment_config"]["name"] == name
            assert app["deployment_topology"]["nodes"][name]["is_ingress"]
            assert told["target_groups"][0]["targets"][0]["port"] == proxy["port"]
            assert told["controller_health_metrics"]["uptime_s"] > 0
            assert "ssl_keyfile_password" not in told["http_options"]
            assert httpx.get(f"http://{proxy['host']}:{proxy['port']}/").text == "hello!"
            assert asker.delete(path).status_code == 200
            assert asker.get(path).json()["applications"] == {}

"""`shoal simulate`: the same work for each scheduler, and numbers that add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shoal.cli.main import build
from shoal.errors import ConfigError
from shoal.sim.compare import Cluster, simulate
from shoal.sim.workloads import WORKLOADS, SimTask, make_workload, read_trace

MIB = 1 << 20


def command(*arguments: str) -> Result:
    return CliRunner().invoke(build(), ["simulate", *arguments])


class TestCommand:
    def test_prints_a_line_for_each_scheduler(self) -> None:
        done = command(
            "--nodes", "20", "--tasks", "300", "--schedulers", "spread,binpack", "--workload", "mapreduce"
        )
        assert done.exit_code == 0, done.output
        lines = done.stdout.splitlines()
        assert "300 tasks (mapreduce, seed 0) on 20 nodes of 16 CPUs" in lines[0]
        assert lines[2].split()[:2] == ["scheduler", "makespan,"]
        assert [line.split()[0] for line in lines[3:]] == ["spread", "binpack"]

    def test_json_is_the_same_from_the_same_seed(self) -> None:
        def numbers(seed: str) -> list[dict[str, object]]:
            done = command("--nodes", "20", "--tasks", "500", "--seed", seed, "--json")
            assert done.exit_code == 0, done.output
            real = ("deciding_seconds", "real_seconds", "decisions_per_second")
            return [{k: v for k, v in each.items() if k not in real} for each in json.loads(done.stdout)]

        first = numbers("7")
        assert [each["scheduler"] for each in first] == ["hybrid", "locality", "binpack", "spread"]
        assert first == numbers("7")
        assert first != numbers("8")
        assert all(each["tasks"] == 500 for each in first)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--schedulers", "magic"), "magic"),
            (("--schedulers", ","), "--schedulers names none"),
            (("--nodes", "0"), "--nodes"),
            (("--workload", "dreams"), "dreams"),
            (("--gpus", "0", "--tasks", "200"), "can never run on this cluster: needs 1 GPU"),
        ],
    )
    def test_bad_input_says_what_is_wrong(self, arguments: tuple[str, ...], words: str) -> None:
        done = command(*arguments)
        assert done.exit_code != 0
        assert words in done.output
        assert "Traceback" not in done.output


class TestNumbers:
    def test_independent_tasks_fill_the_cluster(self) -> None:
        work = [SimTask(0.0, 2.0, 1.0, 0.0, 0) for _ in range(400)]
        for name in ("hybrid", "locality", "binpack", "spread"):
            result = simulate(Cluster(nodes=10, cpus=4, gpus=0), name, work)
            assert result.makespan == pytest.approx(20.0)  # 400 tasks of 2 s on 40 CPUs
            assert result.utilisation == pytest.approx(1.0)
            assert result.bytes_moved == 0
            assert result.decisions >= 400
            assert result.decisions - result.waits == 400

    def test_a_chain_takes_the_sum_of_its_times(self) -> None:
        work = [SimTask(1.0, 3.0, 1.0, 0.0, 0, (index - 1,) if index else ()) for index in range(10)]
        result = simulate(Cluster(nodes=5), "hybrid", work)
        assert result.makespan == pytest.approx(30.0)

    def test_bytes_move_once_to_each_node_that_reads_them(self) -> None:
        size = 125 * 10**6
        work = [
            SimTask(0.0, 1.0, 1.0, 0.0, size),
            *(SimTask(0.0, 1.0, 1.0, 0.0, 0, (0,)) for _ in range(8)),
        ]
        spread = simulate(Cluster(nodes=4, cpus=2, gpus=0, bandwidth=size / 10), "spread", work)
        assert spread.bytes_moved == 3 * size  # four nodes, one of which has it
        assert spread.makespan == pytest.approx(1 + 10 + 1)
        local = simulate(Cluster(nodes=4, cpus=8, gpus=0, bandwidth=size / 10), "locality", work)
        assert local.bytes_moved == 0
        assert local.makespan == pytest.approx(2.0)

    @pytest.mark.parametrize("name", WORKLOADS)
    def test_workloads_are_what_their_seed_says(self, name: str) -> None:
        work = make_workload(name, 1000, 5)
        assert len(work) == 1000
        assert work == make_workload(name, 1000, 5)
        assert all(need < index for index, task in enumerate(work) for need in task.needs)
        assert simulate(Cluster(nodes=50), "hybrid", work).tasks == 1000

    def test_an_unknown_workload_names_those_there_are(self) -> None:
        with pytest.raises(ConfigError, match="map, mapreduce, mixed"):
            make_workload("dreams", 1, 0)

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    def test_a_million_tasks_on_ten_thousand_nodes(self) -> None:
        work = make_workload("mixed", 1_000_000, 0)
        result = simulate(Cluster(nodes=10_000), "binpack", work)
        assert result.tasks == 1_000_000


class TestTraces:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[[str, str], str]:
        def make(name: str, text: str) -> str:
            (tmp_path / name).write_text(text)
            return str(tmp_path / name)

        return make

    def test_csv(self, write: Callable[[str, str], str]) -> None:
        path = write("t.csv", "name,seconds,cpus,bytes,needs\na,1.5,2,1000,\nb,2,,,a\nc,1,1,0,a b\n")
        assert read_trace(path) == [
            SimTask(0.0, 1.5, 2.0, 0.0, 1000),
            SimTask(0.0, 2.0, 1.0, 0.0, 0, (0,)),
            SimTask(0.0, 1.0, 1.0, 0.0, 0, (0, 1)),
        ]
        done = command("--trace", path, "--nodes", "2", "--schedulers", "hybrid")
        assert done.exit_code == 0, done.output
        assert "4.50" in done.stdout

    def test_json_lines(self, write: Callable[[str, str], str]) -> None:
        path = write(
            "t.jsonl",
            '{"name": "a", "seconds": 1, "gpus": 1}\n\n{"name": "b", "seconds": 2, "needs": ["a"]}\n',
        )
        assert read_trace(path) == [
            SimTask(0.0, 1.0, 1.0, 1.0, 0),
            SimTask(0.0, 2.0, 1.0, 0.0, 0, (0,)),
        ]

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("t.csv", "name,seconds\na,soon\n", "seconds in line 2.*'soon'"),
            ("t.csv", "name,seconds\na,-1\n", "seconds"),
            ("t.csv", "name,seconds\na,1\na,1\n", "line 3.*'a'"),
            ("t.csv", "name\na\n", "seconds"),
            ("t.csv", "name,seconds,colour\na,1,red\n", "colour"),
            ("t.csv", "name,seconds,needs\na,1,b\nb,1,\n", "needs 'b'"),
            ("t.csv", "name,seconds\n", "no tasks"),
            ("t.json", "[1, 2]\n", "must be an object"),
            ("t.json", "{\n", "no JSON"),
        ],
    )
    def test_a_bad_line_is_named(
        self, write: Callable[[str, str], str], name: str, text: str, words: str
    ) -> None:
        with pytest.raises(ConfigError, match=words):
            read_trace(write(name, text))

    def test_a_missing_file_is_named(self) -> None:
        with pytest.raises(ConfigError, match="no-such-file"):
            read_trace("no-such-file.csv")

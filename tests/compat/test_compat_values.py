"""The reference's value types: environments, settings of jobs and logs, annotations, identifiers, errors."""

from __future__ import annotations

import json
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shoal
from shoal.compat.exceptions import ObjectFetchTimedOutError, RpcError
from shoal.compat.job_config import JobConfig
from shoal.compat.logging_config import VARIABLE, LoggingConfig
from shoal.compat.runtime_env import RuntimeEnv, RuntimeEnvConfig
from shoal.compat.serializers import StandaloneSerializationContext, apply
from shoal.compat.stability import AnnotationType, Deprecated, PublicAPI, RayDeprecationWarning
from shoal.errors import ActorDied, ObjectLost, ShoalError, TaskCancelled, TaskError


def test_a_runtime_env_is_a_mapping_with_questions() -> None:
    env = RuntimeEnv(env_vars={"A": "1"}, pip=["x"], config={"setup_timeout_seconds": 5})
    assert env["env_vars"] == env.env_vars() == {"A": "1"}
    assert env.pip_config() == {"packages": ["x"]}
    assert (env.has_pip(), env.has_uv(), env.has_conda(), env.working_dir()) == (True, False, False, None)
    assert env.get("config", data_class=RuntimeEnvConfig).setup_timeout_seconds == 5
    assert RuntimeEnv.deserialize(env.serialize()) == env == pickle.loads(pickle.dumps(env))
    assert json.loads(env.serialize()) == env.to_dict()
    shipped = RuntimeEnv(working_dir="https://x.example/a.zip", py_modules=["s3://b/c.zip", "here"])
    assert shipped.working_dir_uri() == "https://x.example/a.zip"
    assert shipped.py_modules_uris() == ["s3://b/c.zip"]
    assert (env.working_dir_uri(), env.py_modules_uris(), env.plugins()) == (None, [], [])
    assert env.get_extension("_ray_commit") is None
    with pytest.raises(ValueError, match="no extension"):
        env.get_extension("other")


def test_keys_of_installed_plugins_are_keys(fake_dist: Callable[[str, str, str], None]) -> None:
    fake_dist("papers", "[shoal.environments]\npapers = papers:Step\n", "class Step: ...\n")
    env = RuntimeEnv(papers={"a": 1})
    assert env.plugins() == [("papers", {"a": 1})]
    env["papers"] = {"a": 2}
    assert env.to_dict() == {"papers": {"a": 2}}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"pip": ["a"], "conda": "b"}, "one of pip, uv and conda"),
        ({"nonsense": 1}, "no key nonsense"),
        ({"config": {"setup_timeout_seconds": 0}}, "setup_timeout_seconds"),
    ],
)
def test_a_wrong_runtime_env(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RuntimeEnv(**arguments)


def test_a_runtime_env_is_one_for_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    with shoal.init(engine="inline"):

        @shoal.remote(runtime_env=RuntimeEnv(env_vars={"OF_TASK": "yes"}))
        def read() -> str:
            import os

            return os.environ["OF_TASK"]

        assert shoal.get(read.remote()) == "yes"


def test_settings_of_a_job() -> None:
    config = JobConfig.from_json('{"ray_namespace": "n", "metadata": {"a": "b"}}')
    config.set_metadata("c", "d")
    assert (config.ray_namespace, config.metadata) == ("n", {"a": "b", "c": "d"})
    with pytest.raises(ValueError, match="lifetime='detached'"):
        config.set_default_actor_lifetime("detached")
    with pytest.raises(ValueError, match="Java"):
        JobConfig(jvm_options=["-X"])


@pytest.fixture
def root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setenv(VARIABLE, "")
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_log_records_as_json(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    LoggingConfig(encoding="JSON", log_level="WARNING", additional_log_standard_attrs=["name"]).apply()
    LoggingConfig.from_dict({"encoding": "JSON", "additional_log_standard_attrs": ["name"]}).apply()
    logging.getLogger("mine").warning("it is %s", 5)
    [line] = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["message"], record["levelname"], record["name"]) == ("it is 5", "WARNING", "mine")
    with pytest.raises(ValueError, match="TEXT, JSON"):
        LoggingConfig(encoding="XML")


def test_annotations_mark_and_warn() -> None:
    @PublicAPI(stability="beta")
    def stable() -> int:
        """Say one."""
        return 1

    @Deprecated(message="Use stable.", warning=True)
    def old() -> int:
        return 2

    @Deprecated
    class Old:
        pass

    assert stable() == 1
    assert stable._annotated_type is AnnotationType.PUBLIC_API  # type: ignore[attr-defined]
    assert "beta" in (stable.__doc__ or "")
    with pytest.warns(RayDeprecationWarning, match="Use stable"):
        assert old() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Old()
    with pytest.raises(ValueError, match="stability"):
        PublicAPI(stability="firm")


def test_identifiers_of_the_reference() -> None:
    job = shoal.JobID.from_int(7)
    assert job.int() == 7
    parent = shoal.TaskID.for_driver_task(job)
    assert shoal.ActorID.of(job, parent, 1) == shoal.ActorID.of(job, parent, 1)
    assert shoal.ActorID.of(job, parent, 1) != shoal.ActorID.of(job, parent, 2)
    assert shoal.TaskID.for_normal_task(job, parent, 1) != shoal.TaskID.for_fake_task(job)
    assert shoal.PlacementGroupID.of(job) != shoal.PlacementGroupID.of(job)
    assert job.redis_shard_hash() == shoal.JobID.from_int(7).redis_shard_hash()


def test_the_name_of_an_object_equals_its_reference() -> None:
    with shoal.init(engine="inline"):
        ref = shoal.put(1)
        name = shoal.ObjectRef.from_hex(ref.hex())
        assert name == ref
        assert isinstance(name, shoal.ObjectRef)
        assert ref.job_id().hex() == shoal.get_runtime_context().get_job_id()
        assert shoal.get(shoal.put([name])) == [ref]
        with pytest.raises(TypeError):
            shoal.get(name)
        with pytest.raises(TypeError, match="only names its value"):
            name.future()


def test_errors_take_what_the_references_constructors_take() -> None:
    lost = ObjectLost(object_ref_hex="ab", call_site="f.py:1")
    assert pickle.loads(pickle.dumps(lost)).object_ref_hex == "ab"
    assert TaskCancelled(task_id="t", error_message="stopped").message == "stopped"
    cause = TaskError(function_name="f", traceback_str="Traceback", pid=3)
    assert (cause.function, cause.process) == ("f", 3)
    died = ActorDied.from_task_error(cause)
    assert died.actor_init_failed
    assert not died.preempted
    assert died.__cause__ is cause
    assert ShoalError.from_bytes(lost.to_bytes()).args == lost.args
    with pytest.raises(TypeError, match="not a ActorDied"):
        ActorDied.from_bytes(lost.to_bytes())
    with pytest.raises(TypeError, match="has no argument nonsense"):
        ObjectLost(nonsense=1)
    assert issubclass(ObjectFetchTimedOutError, ObjectLost)
    assert RpcError("no", 14).rpc_code == 14


class Point:
    """A class that nobody can pickle."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __reduce__(self) -> Any:
        raise TypeError("not this way")


def _point_from(x: int) -> Point:
    return Point(x)


def test_a_context_tells_how_a_class_is_pickled() -> None:
    context = StandaloneSerializationContext()
    apply(context)
    with shoal.init(engine="inline"):
        context._register_cloudpickle_serializer(Point, lambda point: point.x, _point_from)
        try:
            assert shoal.get(shoal.put(Point(3))).x == 3
            context._register_cloudpickle_reducer(Point, lambda point: (_point_from, (point.x + 1,)))
            assert shoal.get(shoal.put(Point(3))).x == 4
        finally:
            context._unregister_cloudpickle_reducer(Point)
        with pytest.raises(TypeError):
            shoal.put(Point(3))

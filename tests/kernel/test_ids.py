"""Identifiers that know which program and actor they belong to, as far as they were told."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

import shoal
from shoal.ids import ActorID, JobID, TaskID


@pytest.fixture(scope="module", autouse=True)
def _session() -> Iterator[None]:
    shoal.init(engine="inline")
    yield
    shoal.shutdown()


@shoal.remote
class Teller:
    def where(self) -> tuple[TaskID | None, ActorID | None]:
        context = shoal.get_runtime_context()
        return context.task_id, context.actor_id


@shoal.remote
def task_of() -> TaskID | None:
    return shoal.get_runtime_context().task_id


def test_identifiers_from_a_session_know_their_job() -> None:
    job = shoal.get_runtime_context().job_id
    actor = Teller.remote()
    task, its_actor = shoal.get(actor.where.remote())
    assert its_actor is not None
    assert its_actor == actor._actor_id
    assert actor._actor_id.job_id == its_actor.job_id == job
    assert task is not None
    assert task.job_id() == job
    assert task.actor_id() == its_actor
    assert task.actor_id().job_id == job
    ref = actor.where.remote()
    assert ref.task_id().job_id() == job


def test_a_plain_task_has_no_actor() -> None:
    task = shoal.get(task_of.remote())
    assert task is not None
    assert task.actor_id().is_nil()


def test_what_is_known_survives_pickling() -> None:
    job = JobID.from_int(7)
    actor = ActorID.of(job, TaskID.for_driver_task(job), 1)
    call = TaskID.for_actor_task(job, TaskID.for_driver_task(job), 2, actor)
    again = pickle.loads(pickle.dumps(call))
    assert again == call
    assert (again.job_id(), again.actor_id()) == (job, actor)
    assert TaskID.for_actor_creation_task(actor).actor_id() == actor
    assert TaskID.for_normal_task(job, call, 1).actor_id().is_nil()


@pytest.mark.parametrize("ask", [lambda: ActorID(bytes(16)).job_id, lambda: TaskID(bytes(16)).job_id()])
def test_bytes_alone_do_not_know(ask: object) -> None:
    with pytest.raises(ValueError, match="made from bytes alone"):
        ask()  # type: ignore[operator]

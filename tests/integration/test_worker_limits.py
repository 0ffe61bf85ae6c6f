"""Limits on worker processes: how many there may be, and what becomes of those that do not come up."""

from __future__ import annotations

import os
from typing import Any

import pytest
from leftovers import assert_nothing_left

import shoal
from shoal import errors

pytestmark = pytest.mark.processes
SECONDS = 30


def test_no_more_workers_than_allowed_serve_any_number_of_environments() -> None:
    with shoal.init(engine="native", num_cpus=4, num_gpus=0, max_workers=2) as session:
        folder, name = session["session_dir"], session["session_name"]

        @shoal.remote
        def look() -> tuple[int, str]:
            return os.getpid(), os.environ.get("WHICH", "")

        seen: list[Any] = []
        for which in ("a", "b", "c", "d"):
            kind = look.options(runtime_env={"env_vars": {"WHICH": which}})
            seen += shoal.get([kind.remote() for _ in range(4)], timeout=SECONDS)
            living = {pid for pid, _ in seen if os.path.exists(f"/proc/{pid}")}
            assert len(living) <= 2
        assert {which for _, which in seen} == {"a", "b", "c", "d"}
    assert_nothing_left(folder, name)


def test_a_worker_that_cannot_come_up_is_the_error_of_what_wants_it() -> None:
    with shoal.init(engine="native", num_cpus=1, num_gpus=0):

        @shoal.remote(runtime_env={"env_vars": {"PATH_OF_NOTHING": "x"}})
        def never() -> None: ...

        # Nobody can write into the sessions' folder of pages: a worker dies before it has registered.
        pages = os.path.join(shoal.get_runtime_context().get_temp_dir(), "p")
        assert os.path.isdir(pages)
        os.rename(pages, pages + "-away")
        try:
            with pytest.raises(errors.RuntimeEnvSetup, match="die before they are up"):
                shoal.get(never.remote(), timeout=SECONDS)
        finally:
            os.rename(pages + "-away", pages)

"""The contract of Sharing, for whoever writes one.

class TestMine(SharingContract):
    @pytest.fixture
    def sharing(self):
        return MySharing()
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shoal.interfaces.sharing import Sharing
from shoal.spec.jobs import JobSpec, JobUse

TOTAL = {"CPU": 80_000, "GPU": 20_000, "memory": 10**12}

uses: st.SearchStrategy[Mapping[str, int]] = st.fixed_dictionaries(
    {}, optional={name: st.integers(0, 2 * most) for name, most in TOTAL.items()}
)
specs: st.SearchStrategy[JobSpec] = st.builds(
    JobSpec,
    job_id=st.binary(min_size=4, max_size=4),
    priority=st.integers(-1000, 1000),
    share=st.floats(0.001, 1_000_000),
)
_quick = hypothesis_settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
)


class SharingContract:
    """What every Sharing must do."""

    @pytest.fixture
    def sharing(self) -> Sharing:
        """Return the policy to be tried."""
        raise NotImplementedError("return the policy to be tried")

    @_quick
    @given(spec=specs, used=uses, number=st.integers(0, 10**6))
    def test_equal_questions_get_equal_answers(
        self, sharing: Sharing, spec: JobSpec, used: Mapping[str, int], number: int
    ) -> None:
        use = JobUse(spec=spec, used=used, total=TOTAL, number=number)
        again = JobUse(spec=spec, used=dict(used), total=dict(TOTAL), number=number)
        assert sharing.rank(use) == sharing.rank(again)

    @_quick
    @given(spec=specs, used=uses, more=uses, number=st.integers(0, 10**6))
    def test_who_has_more_is_not_served_earlier(
        self, sharing: Sharing, spec: JobSpec, used: Mapping[str, int], more: Mapping[str, int], number: int
    ) -> None:
        both = {name: used.get(name, 0) + more.get(name, 0) for name in TOTAL}
        less = sharing.rank(JobUse(spec=spec, used=used, total=TOTAL, number=number))
        assert less <= sharing.rank(JobUse(spec=spec, used=both, total=TOTAL, number=number))

    @_quick
    @given(one=specs, other=specs, used=uses)
    def test_ranks_can_be_compared(
        self, sharing: Sharing, one: JobSpec, other: JobSpec, used: Mapping[str, int]
    ) -> None:
        first = sharing.rank(JobUse(spec=one, used=used, total=TOTAL))
        second = sharing.rank(JobUse(spec=other, used={}, total={}))
        assert len(first) == len(second)
        assert all(math.isfinite(part) for part in (*first, *second))

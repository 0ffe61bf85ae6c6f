"""What every call without arguments sends."""

from __future__ import annotations

import pickle

from shoal.native.client.arguments import EMPTY_CALL
from shoal.serial import dumps


def test_the_empty_call_is_the_pickle_of_no_arguments() -> None:
    assert pickle.loads(EMPTY_CALL) == ((), {})
    assert len(EMPTY_CALL) <= len(dumps(((), {})).data)

"""The shortest program: a session, one task, the end. Prints the seconds from init() to the result."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.systems import load, start

api = load(sys.argv[1])


@api.remote
def first() -> str:
    return "done"


begin = time.perf_counter()
start(api)
assert api.get(first.remote()) == "done"
print(time.perf_counter() - begin)
api.shutdown()

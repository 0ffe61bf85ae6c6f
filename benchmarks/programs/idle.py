"""A session that has run one task and then does nothing until its input ends. Says "ready"."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.systems import load, start

api = load(sys.argv[1])


@api.remote
def one() -> str:
    return "ready"


start(api)
print(api.get(one.remote()), flush=True)
sys.stdin.read()
api.shutdown()

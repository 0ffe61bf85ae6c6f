"""One system runs rows of one family, in a process of its own.

python -P child.py SYSTEM FAMILY QUICK DESCRIPTOR ROW [ROW ...]        started by `harness.parent`

It writes a line of JSON to the descriptor before and after each row, so that the parent knows which one hangs.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.declare import FLOOR, load_family
from harness.measure import Bench
from harness.systems import load, start


def main() -> None:
    system, family_name, quick, descriptor, *wanted = sys.argv[1:]
    os.set_inheritable(int(descriptor), False)
    report = os.fdopen(int(descriptor), "w", buffering=1)
    family = load_family(family_name)
    api = None if system == FLOOR else load(system)
    if api is not None and family.session:
        start(api, family.resources)
    bench = Bench(system=system, api=api, quick=quick == "1")
    by_name = {row.name: row for row in family.rows}
    for name in wanted:
        # Standard error is a file that the parent reads: what lies before this belongs to the rows before.
        report.write(json.dumps({"begin": name, "said": os.fstat(2).st_size}) + "\n")
        try:
            reading = by_name[name].run(bench)
        except Exception as error:  # a row that fails must not take the others with it
            traceback.print_exc()
            report.write(json.dumps({"row": name, "error": f"{type(error).__name__}: {error}"[:500]}) + "\n")
        else:
            report.write(json.dumps({"row": name, "value": reading.value, "facts": reading.facts}) + "\n")
        gc.collect()  # handles and references that lie in cycles: their actors and objects end with the row
    report.write(json.dumps({"end": True}) + "\n")
    if api is not None and family.session:
        api.shutdown()


if __name__ == "__main__":
    main()

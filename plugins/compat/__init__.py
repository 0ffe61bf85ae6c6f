"""Programs written for Ray run unchanged: `import ray` and its submodules resolve to Shoal.

python -m shoal.compat program.py [args]      # or -m module
pytest --shoal-as-ray
shoal.compat.install()                        # in a program of your own, before `import ray`
"""

from __future__ import annotations

from shoal.compat.alias import install, installed, suspended, uninstall

__all__ = ["install", "installed", "suspended", "uninstall"]

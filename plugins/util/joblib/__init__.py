"""joblib's parallel calls as actors: `with joblib.parallel_config("shoal"): ...`, for scikit-learn and the like."""

from __future__ import annotations

from shoal.util.joblib.register import register_shoal

__all__ = ["register_shoal"]

"""Search for good configurations: many trials of a function, a class or a trainer, led by searchers and schedulers.

Written on the public API and on shoal.train. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train.checkpoint import Checkpoint
    from shoal.train.result import Result
    from shoal.tune import schedulers, search, stopper
    from shoal.tune.analysis import ExperimentAnalysis
    from shoal.tune.callback import Callback
    from shoal.tune.config import (
        CheckpointConfig,
        FailureConfig,
        ResumeConfig,
        RunConfig,
        SyncConfig,
        TuneConfig,
    )
    from shoal.tune.errors import TrialStopped, TuneError
    from shoal.tune.experiment.experiment import Experiment
    from shoal.tune.progress_reporter import CLIReporter, JupyterNotebookReporter, ProgressReporter
    from shoal.tune.registry import register_env, register_trainable
    from shoal.tune.resources import PlacementGroupFactory
    from shoal.tune.result_grid import ResultGrid
    from shoal.tune.run import run, run_experiments
    from shoal.tune.schedulers.plugins import create_scheduler
    from shoal.tune.search.plugins import create_searcher
    from shoal.tune.search.sample import (
        choice,
        grid_search,
        lograndint,
        loguniform,
        qlograndint,
        qloguniform,
        qrandint,
        qrandn,
        quniform,
        randint,
        randn,
        sample_from,
        uniform,
    )
    from shoal.tune.session import TuneContext, get_checkpoint, get_context, report
    from shoal.tune.stopper import Stopper
    from shoal.tune.trainable import Trainable, with_parameters, with_resources
    from shoal.tune.tuner import Tuner

__all__ = [
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "JupyterNotebookReporter",
    "PlacementGroupFactory",
    "ProgressReporter",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TrialStopped",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
    "choice",
    "create_scheduler",
    "create_searcher",
    "get_checkpoint",
    "get_context",
    "grid_search",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "schedulers",
    "search",
    "stopper",
    "uniform",
    "with_parameters",
    "with_resources",
]

_HOMES = {
    "shoal.train.checkpoint": ("Checkpoint",),
    "shoal.train.result": ("Result",),
    "shoal.tune.analysis": ("ExperimentAnalysis",),
    "shoal.tune.callback": ("Callback",),
    "shoal.tune.config": (
        "CheckpointConfig",
        "FailureConfig",
        "ResumeConfig",
        "RunConfig",
        "SyncConfig",
        "TuneConfig",
    ),
    "shoal.tune.errors": ("TrialStopped", "TuneError"),
    "shoal.tune.experiment.experiment": ("Experiment",),
    "shoal.tune.progress_reporter": ("CLIReporter", "JupyterNotebookReporter", "ProgressReporter"),
    "shoal.tune.registry": ("register_env", "register_trainable"),
    "shoal.tune.resources": ("PlacementGroupFactory",),
    "shoal.tune.result_grid": ("ResultGrid",),
    "shoal.tune.run": ("run", "run_experiments"),
    "shoal.tune.schedulers.plugins": ("create_scheduler",),
    "shoal.tune.search.plugins": ("create_searcher",),
    "shoal.tune.search.sample": (
        "choice",
        "grid_search",
        "lograndint",
        "loguniform",
        "qlograndint",
        "qloguniform",
        "qrandint",
        "qrandn",
        "quniform",
        "randint",
        "randn",
        "sample_from",
        "uniform",
    ),
    "shoal.tune.session": ("TuneContext", "get_checkpoint", "get_context", "report"),
    "shoal.tune.stopper": ("Stopper",),
    "shoal.tune.trainable": ("Trainable", "with_parameters", "with_resources"),
    "shoal.tune.tuner": ("Tuner",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = frozenset({"schedulers", "search", "stopper"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value

"""What a trial runs: functions, and classes that are stepped."""

from shoal.tune.trainable.function_trainable import FunctionTrainable, wrap_function
from shoal.tune.trainable.given import with_parameters, with_resources
from shoal.tune.trainable.trainable import Trainable

__all__ = ["FunctionTrainable", "Trainable", "with_parameters", "with_resources", "wrap_function"]

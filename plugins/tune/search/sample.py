"""What a parameter may be: a range, a choice, a function of the others, or each of a list in turn."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe

__all__ = [
    "BaseSampler",
    "Categorical",
    "Domain",
    "Float",
    "Function",
    "Grid",
    "Integer",
    "LogUniform",
    "Normal",
    "Quantized",
    "Sampler",
    "Uniform",
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
    "rng_of",
    "sample_from",
    "uniform",
]


def rng_of(random_state: Any = None) -> random.Random:
    """Return a generator of random numbers: of a seed, of NumPy's generators, or of the system's chance for None.

    Raises ConfigError for what is none of these.

    Example: `rng_of(7).random()`
    """
    if isinstance(random_state, random.Random):
        return random_state
    if random_state is None or (isinstance(random_state, int) and not isinstance(random_state, bool)):
        return random.Random(random_state)
    draw = getattr(random_state, "integers", None) or getattr(random_state, "randint", None)
    if draw is None:
        raise ConfigError(f"random_state must be a whole number or a generator, not {describe(random_state)}")
    return random.Random(int(draw(0, 2**31 - 1)))


class BaseSampler:
    """How values of a domain are drawn."""

    def __str__(self) -> str:
        return "Base"


class Sampler(BaseSampler):
    """Draws values of a domain."""

    def sample(
        self,
        domain: Any,
        config: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
        size: int = 1,
        random_state: Any = None,
    ) -> Any:
        """Return a value of the domain, or a list of `size` of them if that is more than 1."""
        rng = rng_of(random_state)
        if size == 1:
            return self.draw(domain, rng)
        return [self.draw(domain, rng) for _ in range(size)]

    def draw(self, domain: Any, rng: random.Random) -> Any:
        """Return one value."""
        raise NotImplementedError(f"{type(self).__name__} draws no single values")


class Uniform(Sampler):
    """Every value is as likely as another."""

    def draw(self, domain: Any, rng: random.Random) -> Any:
        """Return one value."""
        if isinstance(domain, Categorical):
            return domain.categories[int(rng.random() * len(domain.categories))]
        if isinstance(domain, Integer):
            return rng.randrange(domain.lower, domain.upper)
        return domain.lower + (domain.upper - domain.lower) * rng.random()

    def __str__(self) -> str:
        return "Uniform"


class LogUniform(Sampler):
    """Every order of magnitude is as likely as another. `base` is the logarithm's; it changes nothing but the name."""

    def __init__(self, base: float = 10) -> None:
        if not base > 0 or base == 1:
            raise ConfigError(f"base must be a number above 0 and not 1, not {describe(base)}")
        self.base = base

    def draw(self, domain: Any, rng: random.Random) -> Any:
        """Return one value."""
        low, high = math.log(domain.lower), math.log(domain.upper)
        value = math.exp(low + (high - low) * rng.random())
        if isinstance(domain, Integer):
            return min(max(int(value), domain.lower), domain.upper - 1)
        return min(max(value, domain.lower), domain.upper)

    def __str__(self) -> str:
        return "LogUniform"


class Normal(Sampler):
    """The bell curve with that mean and standard deviation."""

    def __init__(self, mean: float = 0.0, sd: float = 0.0) -> None:
        if not sd > 0:
            raise ConfigError(f"sd must be more than 0, not {describe(sd)}")
        self.mean = mean
        self.sd = sd

    def draw(self, domain: Any, rng: random.Random) -> Any:
        """Return one value."""
        return rng.gauss(self.mean, self.sd)

    def __str__(self) -> str:
        return "Normal"


class Grid(BaseSampler):
    """Every value once."""

    def sample(self, domain: Any, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        """Return the mark of a grid search over the domain's values."""
        return grid_search(domain.categories)

    def __str__(self) -> str:
        return "Grid"


class Quantized(Sampler):
    """What another sampler draws, rounded to multiples of `q` within the domain."""

    def __init__(self, sampler: Sampler, q: float) -> None:
        if not q > 0:
            raise ConfigError(f"q must be more than 0, not {describe(q)}")
        self.sampler = sampler
        self.q = q

    def get_sampler(self) -> Sampler:
        """Return the sampler whose values are rounded."""
        return self.sampler

    def draw(self, domain: Any, rng: random.Random) -> Any:
        """Return one value."""
        # A quantized Integer has its upper bound among its values.
        source = Integer(domain.lower, domain.upper + 1) if isinstance(domain, Integer) else domain
        value = self.sampler.draw(source, rng)
        low, high = getattr(domain, "lower", -math.inf), getattr(domain, "upper", math.inf)
        steps = round(value / self.q)
        # Rounding may leave the range by less than one step; a step back is a multiple again.
        if steps * self.q > high:
            steps = math.floor(high / self.q + 1e-9)
        if steps * self.q < low:
            steps = math.ceil(low / self.q - 1e-9)
        return domain.cast(steps * self.q)

    def __str__(self) -> str:
        return f"Quantized({self.sampler}, q={self.q})"


class Domain:
    """What a parameter may be."""

    sampler: Any = None
    default_sampler_cls: type[Sampler] | None = Uniform

    def cast(self, value: Any) -> Any:
        """Return a value as this domain's type."""
        return value

    def set_sampler(self, sampler: Any, allow_override: bool = False) -> None:
        """Set how values are drawn. Raises ConfigError if that is set already."""
        if self.sampler is not None and not allow_override:
            raise ConfigError(f"{self} has a sampler already; allow_override=True replaces it")
        self.sampler = sampler

    def get_sampler(self) -> Any:
        """Return how values are drawn."""
        if self.sampler is None and self.default_sampler_cls is not None:
            self.sampler = self.default_sampler_cls()
        return self.sampler

    def sample(
        self,
        config: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
        size: int = 1,
        random_state: Any = None,
    ) -> Any:
        """Draw a value, or a list of `size` of them if that is more than 1.

        Example: `tune.uniform(0, 1).sample(random_state=7)`
        """
        return self.get_sampler().sample(self, config=config, size=size, random_state=random_state)

    def draw(self, rng: random.Random) -> Any:
        """Draw one value."""
        return self.get_sampler().draw(self, rng)

    def is_grid(self) -> bool:
        """Return whether all values are tried."""
        return isinstance(self.sampler, Grid)

    def is_function(self) -> bool:
        """Return whether the value is a function of the other parameters."""
        return False

    def is_valid(self, value: Any) -> bool:
        """Return whether the domain has this value."""
        raise NotImplementedError(f"{type(self).__name__} does not say which values are valid")

    @property
    def domain_str(self) -> str:
        """The domain as text, without its name."""
        return "(unknown)"

    def __repr__(self) -> str:
        sampler = "" if self.sampler is None or str(self.sampler) == "Uniform" else f", {self.sampler}"
        return f"{type(self).__name__}({self.domain_str}{sampler})"


def _number(name: str, value: Any, kinds: tuple[type, ...] = (int, float)) -> Any:
    item = getattr(value, "item", None)  # of NumPy's scalars
    if callable(item) and not isinstance(value, kinds):
        value = item()
    whole: Any = value
    if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(whole):
        what = "a whole number" if float not in kinds else "a finite number"
        raise ConfigError(f"{name} must be {what}, not {describe(value)}")
    return value


def _ordered(kind: str, lower: Any, upper: Any) -> None:
    if not lower < upper:
        raise ConfigError(f"{kind}({lower}, {upper}) is empty: the lower bound must be below the upper one")


class Float(Domain):
    """A number between two bounds; None is no bound.

    Raises ConfigError for bounds that are no numbers or leave nothing.

    Example: `Float(0, 1).quantized(0.1)`
    """

    def __init__(self, lower: float | None, upper: float | None) -> None:
        self.lower = -math.inf if lower is None or lower == -math.inf else _number("lower", lower)
        self.upper = math.inf if upper is None or upper == math.inf else _number("upper", upper)
        _ordered("Float", self.lower, self.upper)

    def cast(self, value: Any) -> float:
        """Return a value as a float."""
        return float(value)

    def uniform(self) -> Float:
        """Return this with all values as likely as each other. Raises ConfigError without bounds."""
        if not math.isfinite(self.lower) or not math.isfinite(self.upper):
            raise ConfigError(f"uniform needs two bounds; this is {self}")
        return self._with(Uniform())

    def loguniform(self, base: float = 10) -> Float:
        """Return this with all magnitudes as likely as each other. Raises ConfigError unless 0 < lower < inf."""
        if not self.lower > 0 or not math.isfinite(self.upper):
            raise ConfigError(
                f"loguniform needs bounds above 0, not ({self.lower}, {self.upper}): the logarithm of 0 is not there"
            )
        return self._with(LogUniform(base))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> Float:
        """Return this with the bell curve."""
        return self._with(Normal(mean, sd))

    def quantized(self, q: float) -> Float:
        """Return this rounded to multiples of q. Raises ConfigError if no multiple is within the bounds."""
        made = Quantized(self.get_sampler(), q)
        if math.isfinite(self.lower) and math.floor(self.upper / q + 1e-9) < math.ceil(self.lower / q - 1e-9):
            raise ConfigError(f"no multiple of q={q} is between {self.lower} and {self.upper}")
        return self._with(made)

    def _with(self, sampler: Sampler) -> Float:
        new = Float(self.lower, self.upper)
        new.sampler = sampler
        return new

    def is_valid(self, value: float) -> bool:
        """Return whether a number is within the bounds."""
        return bool(self.lower <= value <= self.upper)

    @property
    def domain_str(self) -> str:
        """The bounds."""
        return f"{self.lower}, {self.upper}"


class Integer(Domain):
    """A whole number from `lower` to below `upper`.

    Raises ConfigError for bounds that are no whole numbers or leave nothing.

    Example: `Integer(1, 7)`
    """

    def __init__(self, lower: int, upper: int) -> None:
        self.lower: int = _number("lower", lower, (int,))
        self.upper: int = _number("upper", upper, (int,))
        _ordered("Integer", self.lower, self.upper)

    def cast(self, value: Any) -> int:
        """Return a value as an int."""
        return int(value)

    def uniform(self) -> Integer:
        """Return this with all values as likely as each other."""
        return self._with(Uniform())

    def loguniform(self, base: float = 10) -> Integer:
        """Return this with all magnitudes as likely as each other. Raises ConfigError unless lower > 0."""
        if self.lower < 1:
            raise ConfigError(f"lograndint needs a lower bound above 0, not {self.lower}")
        return self._with(LogUniform(base))

    def quantized(self, q: int) -> Integer:
        """Return this rounded to multiples of q; the upper bound is one of the values then."""
        if self.upper // q < -(-self.lower // q):
            raise ConfigError(f"no multiple of q={q} is between {self.lower} and {self.upper}")
        return self._with(Quantized(self.get_sampler(), q))

    def _with(self, sampler: Sampler) -> Integer:
        new = Integer(self.lower, self.upper)
        new.sampler = sampler
        return new

    def is_valid(self, value: int) -> bool:
        """Return whether a number is within the bounds."""
        top = self.upper if isinstance(self.sampler, Quantized) else self.upper - 1
        return self.lower <= value <= top

    @property
    def domain_str(self) -> str:
        """The bounds."""
        return f"{self.lower}, {self.upper}"


class Categorical(Domain):
    """One of some values, which may have domains inside: those of the one that is chosen are drawn then.

    Raises ConfigError for no values.

    Example: `Categorical(["relu", "tanh"])`
    """

    def __init__(self, categories: Sequence[Any]) -> None:
        if isinstance(categories, (str, bytes, Mapping)) or not hasattr(categories, "__iter__"):
            raise ConfigError(f"choices must be a list of values, not {describe(categories)}")
        self.categories: list[Any] = list(categories)
        if not self.categories:
            raise ConfigError("choice([]) is empty: give it at least one value")

    def uniform(self) -> Categorical:
        """Return this with all values as likely as each other."""
        new = Categorical(self.categories)
        new.sampler = Uniform()
        return new

    def grid(self) -> Categorical:
        """Return this with every value tried."""
        new = Categorical(self.categories)
        new.sampler = Grid()
        return new

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, item: int) -> Any:
        return self.categories[item]

    def is_valid(self, value: Any) -> bool:
        """Return whether it is one of the values."""
        return value in self.categories

    @property
    def domain_str(self) -> str:
        """The values."""
        return f"{self.categories}"


class _Calls(Sampler):
    """Calls the function of a domain."""

    def sample(self, domain: Any, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        """Return the value, or a list of `size` of them."""
        return domain.call(config) if size == 1 else [domain.call(config) for _ in range(size)]


class Function(Domain):
    """What a function of the other parameters returns.

    Example: `Function(lambda config: config["width"] * 2)`
    """

    default_sampler_cls = _Calls

    def __init__(self, func: Callable[..., Any]) -> None:
        if not callable(func):
            raise ConfigError(f"sample_from takes a function of the configuration, not {describe(func)}")
        self.func = func
        try:
            needed = [
                each
                for each in inspect.signature(func).parameters.values()
                if each.default is each.empty
                and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
            ]
        except (TypeError, ValueError):  # of C
            needed = []
        if len(needed) > 1:
            raise ConfigError(
                f"sample_from takes a function of one argument (the configuration) or none, not {len(needed)}"
            )
        self._takes = bool(needed)

    def call(self, config: Any) -> Any:
        """Return the value, given the other parameters."""
        return self.func(config) if self._takes else self.func()

    def sample(self, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        """Return the value, or a list of `size` of them."""
        return self.call(config) if size == 1 else [self.call(config) for _ in range(size)]

    def is_function(self) -> bool:
        """Return True."""
        return True

    def is_valid(self, value: Any) -> bool:
        """Return True: it may return anything."""
        return True

    @property
    def domain_str(self) -> str:
        """The function's name."""
        return f"{getattr(self.func, '__name__', self.func)}()"


def grid_search(values: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Try each of the values, beside every combination of other grids. Raises ConfigError for no values.

    Example: `{"layers": tune.grid_search([2, 4, 8])}`
    """
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise ConfigError(f"grid_search takes a list of values, not {describe(values)}")
    values = list(values)
    if not values:
        raise ConfigError("grid_search([]) is empty: give it at least one value")
    return {"grid_search": values}


def sample_from(func: Callable[..., Any]) -> Function:
    """Return a parameter that a function makes from the others.

    Example: `{"a": tune.uniform(0, 1), "b": tune.sample_from(lambda config: config["a"] * 2)}`
    """
    return Function(func)


def uniform(lower: float, upper: float) -> Float:
    """Return a number between the bounds. Raises ConfigError for bounds that leave nothing.

    Example: `tune.uniform(0.0, 1.0)`
    """
    return Float(lower, upper).uniform()


def quniform(lower: float, upper: float, q: float) -> Float:
    """Return a multiple of `q` between the bounds, both included.

    Example: `tune.quniform(0.0, 1.0, 0.05)`
    """
    return Float(lower, upper).uniform().quantized(q)


def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """Return a number between the bounds, all magnitudes as likely as each other.

    Example: `tune.loguniform(1e-5, 1e-1)`
    """
    return Float(lower, upper).loguniform(base)


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """Return a multiple of `q` between the bounds, all magnitudes as likely as each other.

    Example: `tune.qloguniform(1e-3, 1.0, 1e-3)`
    """
    return Float(lower, upper).loguniform(base).quantized(q)


def choice(categories: Sequence[Any]) -> Categorical:
    """Return one of some values. A value may be a space of its own, drawn if it is the one.

    Example: `tune.choice([{"kind": "sgd", "momentum": tune.uniform(0, 1)}, {"kind": "adam"}])`
    """
    return Categorical(categories).uniform()


def randint(lower: int, upper: int) -> Integer:
    """Return a whole number from `lower` to below `upper`.

    Example: `tune.randint(1, 11)`
    """
    return Integer(lower, upper).uniform()


def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """Return a whole number from `lower` to below `upper`, all magnitudes as likely as each other.

    Example: `tune.lograndint(1, 1025)`
    """
    return Integer(lower, upper).loguniform(base)


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """Return a multiple of `q` between the bounds, both included.

    Example: `tune.qrandint(32, 256, 32)`
    """
    return Integer(lower, upper).uniform().quantized(q)


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """Return a multiple of `q` between the bounds, both included, all magnitudes as likely as each other.

    Example: `tune.qlograndint(32, 1024, 32)`
    """
    return Integer(lower, upper).loguniform(base).quantized(q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """Return a number of the bell curve.

    Example: `tune.randn(10, 2)`
    """
    return Float(None, None).normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """Return a number of the bell curve, rounded to multiples of `q`.

    Example: `tune.qrandn(10, 2, 0.5)`
    """
    return Float(None, None).normal(mean, sd).quantized(q)

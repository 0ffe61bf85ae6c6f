"""Who may import whom: the only place where the direction is written. test_layers.py keeps it.

A unit is the longest name below that a module begins with; inside a unit everything may import everything. What a
unit may import is listed in full, so that one line tells the whole truth about it. Libraries on level 5 see the
public `shoal` and the interfaces, never the kernel's inside.
"""

from __future__ import annotations

VALUES = {"shoal.errors", "shoal.death", "shoal.ids", "shoal.spec"}
BASE = VALUES | {"shoal.config", "shoal.interfaces"}
MECHANISM = {"shoal.machines", "shoal.serial", "shoal.registry", "shoal.observe"}
ENGINE = BASE | MECHANISM
LIBRARY = BASE | {"shoal"}

MAY_IMPORT: dict[str, set[str]] = {
    # 0: frozen values
    "shoal.death": set(),
    "shoal.errors": {"shoal.death"},
    "shoal.exceptions": {"shoal.errors"},
    "shoal.ids": {"shoal.errors", "shoal.death"},
    "shoal.spec": {"shoal.errors", "shoal.death", "shoal.ids"},
    # 1: the sockets
    "shoal.config": VALUES,
    "shoal.interfaces": VALUES | {"shoal.config"},
    # 2: drivers. They see values and views, never an engine and never each other.
    "shoal.schedulers": BASE,
    "shoal.stores": BASE,
    "shoal.accelerators": BASE,
    "shoal.metadata": BASE,
    "shoal.environments": BASE,
    "shoal.node_providers": BASE | {"shoal.node_providers.openssh"},
    # the client program of OpenSSH, for whoever runs something elsewhere
    "shoal.node_providers.openssh": BASE,
    # 3: mechanism
    "shoal.machines": BASE,
    "shoal.serial": BASE,
    "shoal.observe": BASE,
    "shoal.registry": BASE | {"shoal.observe"},
    # 4: the public API and the engines meet only in shoal.interfaces.engine
    "shoal.api": ENGINE,
    "shoal": ENGINE | {"shoal.api", "shoal.exceptions", "shoal.values"},
    "shoal.inline": ENGINE,
    "shoal.native": ENGINE | {"shoal.debugging"},
    "shoal.onray": ENGINE,
    # runs programs as inline does, but in virtual time and on many nodes
    "shoal.sim": ENGINE | {"shoal.inline"},
    # calls that stand still for a person
    "shoal.debugging": BASE | {"shoal.registry"},
    # what sessions tell, for libraries that show it
    "shoal.looking": BASE | {"shoal.observe", "shoal.registry"},
    # what plugins add to a session's HTTP server
    "shoal.routes": BASE | {"shoal.registry"},
    # growing and shrinking a session, for autoscalers
    "shoal.scaling": BASE | {"shoal.registry"},
    # values as bytes, for libraries with channels of their own
    "shoal.values": BASE | {"shoal.serial"},
    # what an actor keeps of its results
    "shoal.tensors": BASE | {"shoal.api"},
    # 5: libraries, on the public names
    # commands, and days in virtual time
    "shoal.autoscaler": LIBRARY
    | {"shoal.scaling", "shoal.observe", "shoal.sim", "shoal.node_providers.openssh"},
    "shoal.dag": LIBRARY | {"shoal.values"},
    "shoal.cluster_utils": LIBRARY | {"shoal.scaling"},
    "shoal.state": LIBRARY | {"shoal.looking", "shoal.observe"},
    "shoal.jobs": LIBRARY | {"shoal.environments", "shoal.looking", "shoal.observe"},
    "shoal.dashboard": LIBRARY | {"shoal.looking", "shoal.observe", "shoal.routes", "shoal.state"},
    "shoal.debug": LIBRARY | {"shoal.debugging", "shoal.looking", "shoal.observe"},
    "shoal.util": LIBRARY | {"shoal.state"},
    "shoal.data": LIBRARY | {"shoal.util"},  # progress bars
    # plugin groups of its own
    "shoal.train": LIBRARY | {"shoal.data", "shoal.registry", "shoal.util"},
    # metrics, reports; plugin groups of its own
    "shoal.serve": LIBRARY | {"shoal.util", "shoal.registry"},
    # reports for the dashboard
    "shoal.tune": LIBRARY | {"shoal.data", "shoal.registry", "shoal.train", "shoal.util"},
    "shoal.compat": LIBRARY
    | {
        "shoal.autoscaler",
        "shoal.dag",
        "shoal.data",
        "shoal.jobs",
        "shoal.rllib",
        "shoal.serve",
        "shoal.state",
        "shoal.tensors",
        "shoal.train",
        "shoal.tune",
        "shoal.util",
    },
    # recorded episodes; learners as workers; algorithms as trainables
    "shoal.rllib": LIBRARY | {"shoal.data", "shoal.train", "shoal.tune"},
    # read by mypy, not by programs
    "shoal.mypy_plugin": set(),
    # 6: commands are the kernel's, so they too ask the registry for a driver and never name its module
    "shoal.cli": ENGINE | {"shoal.api", "shoal"},
    # contracts compare drivers with the plain reference driver of their kind
    "shoal.testing": ENGINE | {"shoal.api", "shoal", "shoal.stores", "shoal.schedulers"},
}

# Outside packages that only some units may import at all, wherever in the file.
ONLY_FOR: dict[str, tuple[str, ...]] = {
    "cryptography": ("shoal.native.security",),
    "google": ("shoal.native", "shoal.serve.proxy"),
    "grpc": ("shoal.native", "shoal.serve"),
    "grpc_health": ("shoal.serve.proxy",),
    "grpc_reflection": ("shoal.serve.proxy",),
    "hypothesis": ("shoal.testing",),
    "mypy": ("shoal.mypy_plugin",),
    "pytest": (
        "shoal.testing",
        "shoal.compat.pytest_plugin",
        "shoal.data.testing",
        "shoal.train.testing",
        "shoal.serve.testing",
        "shoal.tune.testing",
    ),
    "stevedore": ("shoal.registry.discover",),
}

# Outside packages that are slow or optional: imported inside functions, except in the modules named for them; a name
# that ends in a dot stands for all modules below it.
LATE: dict[str, tuple[str, ...]] = {
    "boto3": (),
    "botocore": (),
    "kubernetes": (),
    "celery": (),
    "crc32c": (),
    "dask": (),
    "datasets": (),
    "fastavro": (),
    "cryptography": (),
    "google": ("shoal.native.wire.protobuf", "shoal.serve.proxy.grpc_own"),
    "gymnasium": ("shoal.rllib.",),
    "grpc": (
        "shoal.native.head.rpc",
        "shoal.native.daemon.remote_head",
        "shoal.serve.proxy.grpc_own",
        "shoal.serve.proxy.grpc_server",
    ),
    "grpc_health": (),
    "grpc_reflection": (),
    "jax": (),
    "keras": ("shoal.train.tensorflow.keras", "shoal.tune.integration.keras"),
    "lightgbm": (),
    "lightning": (
        "shoal.train.lightning.callback",
        "shoal.train.lightning.strategies",
        "shoal.tune.integration.pytorch_lightning",
    ),
    "mlflow": (),
    "tensorboardX": (),
    "tensorflow": (),
    "transformers": ("shoal.train.huggingface.transformers.callback",),
    "wandb": (),
    "xgboost": ("shoal.train.xgboost.callback", "shoal.tune.integration.xgboost"),
    "joblib": ("shoal.util.joblib.backend",),
    "mypy": ("shoal.mypy_plugin",),
    "optree": ("shoal.rllib.",),
    "numpy": ("shoal.serial.numpy", "shoal.data.", "shoal.rllib."),
    "opentelemetry": (),
    "PIL": (),
    "pandas": ("shoal.data.extensions.",),
    "prometheus_client": (),
    "pydantic": ("shoal.serve.details", "shoal.serve.llm.requests", "shoal.serve.schema"),
    "pyarrow": ("shoal.stores.arrow", "shoal.serial.arrow", "shoal.data."),
    "redis": (),
    "stevedore": (),
    "fastapi": (),
    "starlette": (),
    "torch": (
        "shoal.serial.tensor",
        "shoal.rllib.",
        "shoal.train.huggingface.transformers.callback",
        "shoal.train.lightning.callback",
        "shoal.train.lightning.strategies",
    ),
    "urllib3": (),
    "hypercorn": ("shoal.serve.proxy.http2",),
    "uvicorn": ("shoal.serve.proxy.protocol", "shoal.serve.proxy.server"),
}

OUR_FOLDERS = ("kernel", "plugins", "schedulers", "stores", "accelerators")


def is_named(module: str, named: tuple[str, ...]) -> bool:
    """Whether a module is one of those named in a line of LATE."""
    return module in named or module.startswith(tuple(each for each in named if each.endswith(".")))


def unit_of(name: str) -> str | None:
    """The unit that a module belongs to; `shoal` itself is a unit only for the package file."""
    while name:
        if name in MAY_IMPORT and (name != "shoal"):
            return name
        name = name.rpartition(".")[0]
    return None

"""The pytest plugin: runs the contracts of `shoal.testing` on an installed plugin that an option names.

    pytest --pyargs shoal.testing --scheduler=mine --store=mine

It is loaded in every pytest run wherever shoal is installed, so it imports pytest and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

# What the options name, and the entry-point group to look in.
KINDS = {
    "accelerator": "shoal.accelerators",
    "engine": "shoal.engines",
    "environment": "shoal.environments",
    "metadata": "shoal.metadata",
    "nodes": "shoal.nodes",
    "scheduler": "shoal.schedulers",
    "sharing": "shoal.sharing",
    "store": "shoal.stores",
}
MARKER = "shoal_contract"

# The contracts assert outside of test modules; without this their failures would not show the values.
pytest.register_assert_rewrite("shoal.testing")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add one option for each kind of plugin that has a contract."""
    group = parser.getgroup("shoal", "contracts of shoal's plugins (use with --pyargs shoal.testing)")
    for kind, entry_point in KINDS.items():
        group.addoption(
            f"--{kind}",
            metavar="NAME",
            default=None,
            dest=_destination(kind),
            help=f"run the contract on the plugin of this name in the group {entry_point}",
        )
    group.addoption(
        "--metadata-location",
        metavar="LOCATION",
        default=None,
        dest=_destination("metadata_location"),
        help="where the named metadata store is, if it is a server: '{}' in it becomes another word in each "
        "test, as in redis://127.0.0.1/0?prefix=test-{}",
    )
    group.addoption(
        "--nodes-options",
        metavar="JSON",
        default=None,
        dest=_destination("nodes_options"),
        help='what the named node provider needs, as {"options": {…}, "type": {…}}: its own, and a node type\'s',
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare our marker, so that --strict-markers accepts it."""
    config.addinivalue_line(
        "markers", f"{MARKER}(kind): the contract of one kind of plugin, run if an option names one"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the contracts of which no plugin is named."""
    unasked = [item for item in items if not _asked_for(config, item)]
    if unasked:
        items[:] = [item for item in items if _asked_for(config, item)]
        config.hook.pytest_deselected(items=unasked)


@pytest.fixture(scope="session")
def shoal_plugin(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Return a function that loads, for a kind such as "store", the plugin that the option names."""
    # Here, since the plugin is loaded in runs that have nothing to do with shoal.
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import group_named

    def load(kind: str) -> Any:
        name = request.config.getoption(_destination(kind))
        if name is None:
            pytest.skip(f"no --{kind} is named")
        return load_driver(group_named(KINDS[kind]), name)

    return load


def _asked_for(config: pytest.Config, item: pytest.Item) -> bool:
    marker = item.get_closest_marker(MARKER)
    return marker is None or config.getoption(_destination(marker.args[0])) is not None


def _destination(kind: str) -> str:
    return f"shoal_{kind}"

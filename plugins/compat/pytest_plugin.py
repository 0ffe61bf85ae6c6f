"""The pytest flag `--shoal-as-ray`: the tests of a program written for Ray run on Shoal.

It is loaded in every pytest run wherever shoal is installed, so it imports pytest and nothing else.
"""

from __future__ import annotations

import pytest

FLAG = "--shoal-as-ray"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag."""
    parser.getgroup("shoal").addoption(
        FLAG,
        action="store_true",
        dest="shoal_as_ray",
        help="`import ray` means Shoal (shoal.compat.install())",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Install the alias before any conftest.py is imported, since those may import ray."""
    if early_config.known_args_namespace.shoal_as_ray:
        from shoal.compat.alias import install

        install()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the alias away again: pytest may have been called from a program that goes on."""
    if getattr(config.option, "shoal_as_ray", False):
        from shoal.compat.alias import uninstall

        uninstall()

"""Asking for machines before work needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shoal.errors import ConfigError, describe
from shoal.interfaces.scaling import Need
from shoal.scaling import scaling_link
from shoal.spec.resources import ResourceSet


def request_resources(
    num_cpus: int | None = None,
    bundles: Sequence[Mapping[str, float]] | None = None,
    bundle_label_selectors: Sequence[Mapping[str, str]] | None = None,
) -> None:
    """Have the cluster grow until it has room for this, in use or not, and stay that large.

    Parameters: `num_cpus` CPUs, each for itself; `bundles`, resources that each must be on one node;
    `bundle_label_selectors`, one for each bundle, of the labels that its node must have. It takes the place of what was
    asked for before, by whichever program of the cluster; called without anything, it takes that back. Nothing is
    reserved, and nobody waits.
    Raises ConfigError for what is no amount, NotInitialized outside of a session.

    Example: `request_resources(bundles=[{"CPU": 4, "GPU": 1}] * 2)`.
    """
    needs: list[Need] = []
    if num_cpus is not None:
        if type(num_cpus) is not int or num_cpus < 0:
            raise ConfigError(f"num_cpus must be a whole number ≥ 0, not {describe(num_cpus)}")
        if num_cpus:
            needs.append(Need(resources=ResourceSet.of(CPU=1), count=num_cpus, what="request_resources"))
    asked = list(bundles or ())
    if bundle_label_selectors is not None and len(bundle_label_selectors) != len(asked):
        raise ConfigError(
            f"there are {len(bundle_label_selectors)} bundle_label_selectors for {len(asked)} bundles: give one each"
        )
    for index, bundle in enumerate(asked):
        given: object = bundle
        if not isinstance(given, Mapping) or not given:
            raise ConfigError(f"a bundle is a mapping of resources, not {describe(bundle)}")
        selector = dict(bundle_label_selectors[index]) if bundle_label_selectors else {}
        needs.append(Need(resources=ResourceSet.of(bundle), selector=selector, what="request_resources"))
    link = scaling_link()
    try:
        link.request(needs)
    finally:
        link.close()

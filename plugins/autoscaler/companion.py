"""The autoscaler as a companion of the head."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, ClassVar

from shoal.autoscaler.loop import Loop, check_cluster
from shoal.autoscaler.spec import ClusterSpec
from shoal.errors import ConfigError
from shoal.interfaces.companions import Companion, CompanionHome
from shoal.interfaces.nodes import NodeStart
from shoal.scaling import link_to

if TYPE_CHECKING:
    from shoal.config import Config


class AutoscalerCompanion(Companion):
    """Serves the cluster's file that the setting `autoscaling` names."""

    name: ClassVar[str] = "autoscaler"
    __slots__ = ()

    def check(self, config: Config) -> None:
        check_cluster(_path_of(config), lambda spec: NodeStart(head_address="", credentials_file=""))

    def run(self, home: CompanionHome) -> None:
        def start(spec: ClusterSpec) -> NodeStart:
            port = home.address.rpartition(":")[2]
            address = f"{spec.head.address}:{port}" if spec.head.address else home.address
            return NodeStart(
                head_address=address, credentials_file=home.credentials_file, settings=spec.settings
            )

        loop = Loop(_path_of(home.config), lambda: link_to(home.address, home.temp_dir), start)
        signal.signal(signal.SIGTERM, lambda *_: loop.stop(tell=False))
        loop.run()


def _path_of(config: Config) -> str:
    if not config.autoscaling:
        raise ConfigError("the setting autoscaling names no file")
    return os.path.abspath(config.autoscaling)

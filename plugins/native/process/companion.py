"""The beginning of a companion's process: `python -m shoal.native.process.companion NAME FOLDER ADDRESS PARENT`."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler


def main() -> None:
    """Run a companion of the head until it is told to end, or the daemon that has started it is gone."""
    name, folder, address, parent = sys.argv[1:5]
    from shoal.native.process.parent import die_with_parent

    die_with_parent(int(parent))
    from shoal.config import Config
    from shoal.interfaces.companions import CompanionHome
    from shoal.native.process.security import CREDENTIALS_FILE
    from shoal.native.process.session import Session
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import COMPANIONS

    session = Session.read(folder)
    sys.path.extend(entry for entry in session.path if entry not in sys.path)
    config = Config.from_wire(session.config)
    handler = RotatingFileHandler(
        os.path.join(folder, "logs", f"{name}.log"), maxBytes=16 * 2**20, backupCount=2
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(config.log_level.upper())
    companion = load_driver(COMPANIONS, name)()
    home = CompanionHome(
        address=address,
        folder=folder,
        temp_dir=os.path.dirname(folder),
        credentials_file=os.path.join(folder, CREDENTIALS_FILE),
        config=config,
    )
    try:
        companion.run(home)
    except Exception:
        logging.getLogger(f"shoal.{name}").exception("it failed")
        sys.exit(1)


if __name__ == "__main__":
    main()

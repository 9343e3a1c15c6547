"""Every check on plugins that are installed: `pytest --pyargs omlab_testkit.conformance --omlab-all`."""

from omlab_testkit.suite import TestPlugin

__all__ = ["TestPlugin"]

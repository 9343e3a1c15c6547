from omlab_testkit import TestPlugin

__all__ = ["TestPlugin"]

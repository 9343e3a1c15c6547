from omlab_testkit import TestPlugin  # noqa: F401

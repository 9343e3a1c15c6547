"""What every plugin of omlab promises, checked by the test kit."""

from omlab_testkit import TestPlugin  # noqa: F401

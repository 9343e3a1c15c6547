"""The checks that every plugin must pass."""

from omlab_testkit import TestPlugin  # noqa: F401

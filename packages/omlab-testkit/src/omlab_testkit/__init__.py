"""The tests that every omlab plugin must pass, as a pytest plugin.

One line in a package's `tests/test_conformance.py` gives it all of them:

    from omlab_testkit import TestPlugin  # noqa: F401
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omlab_testkit.suite import TestPlugin

__all__ = ["TestPlugin"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import the suite when it is asked for: pytest imports this package in every session."""
    if name == "TestPlugin":
        from omlab_testkit.suite import TestPlugin

        return TestPlugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The tests that every omlab plugin must pass, as a pytest plugin."""

__version__ = "0.1.0"

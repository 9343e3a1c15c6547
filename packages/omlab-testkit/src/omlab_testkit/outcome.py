"""How a check ends other than well."""

from __future__ import annotations


class Failure(AssertionError):
    """The plugin breaks a promise; the sentence says which, and what to do."""


class NotRun(Exception):
    """The check cannot be made here (no GPU, an optional package is absent); the sentence says why."""

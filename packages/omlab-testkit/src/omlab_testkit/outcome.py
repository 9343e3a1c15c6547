"""How a check ends other than well."""

from __future__ import annotations


class PromiseError(AssertionError):
    """The plugin breaks a promise; the sentence says which, and what to do."""


class CannotCheckError(Exception):
    """The check cannot be made here (no GPU, an optional package is absent); the sentence says why."""

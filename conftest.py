"""Property tests draw the same examples in every run, here and in the CI; `OMLAB_HYPOTHESIS=deep` draws others.

pytest finds this file for every package of the repository, also where a wheel is tested: it stands beside the
configuration that noxfile.py names with `-c`.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import pytest

DEEP = os.environ.get("OMLAB_HYPOTHESIS") == "deep"
TIMES = 20
"""How many times the examples that a test asks for are drawn in a deep run."""

if find_spec("hypothesis") is not None:  # packages without property tests do without it
    from hypothesis import settings

    settings.register_profile("ordinary", derandomize=True, deadline=None)
    settings.register_profile("deep", derandomize=False, deadline=None, print_blob=True)
    settings.load_profile("deep" if DEEP else "ordinary")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a deep run, multiply what each property test asks for: a profile only changes what a test leaves open."""
    if not DEEP or find_spec("hypothesis") is None:
        return
    functions: set[Any] = {getattr(test := getattr(item, "obj", None), "__func__", test) for item in items}
    for test in (function for function in functions if hasattr(function, "hypothesis")):
        asked = test._hypothesis_internal_use_settings  # what `@settings` leaves; Hypothesis has no public reader of it
        test._hypothesis_internal_use_settings = settings(asked, max_examples=TIMES * asked.max_examples)

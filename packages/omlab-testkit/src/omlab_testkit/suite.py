"""`TestPlugin`: every check as a test of pytest."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from omlab.errors import OmlabError
from omlab_testkit.checks import Check, all_checks
from omlab_testkit.outcome import CannotCheckError, PromiseError
from omlab_testkit.subjects import ModelSubject, Subject

NOTE = "omlab-testkit"
"""Name of the report property that says why a check was not made; the terminal summary lists them."""


class TestPlugin:
    """All checks of the distribution under test, one test for each check and subject.

    Importing it into a test module is all that a package does:

        from omlab_testkit import TestPlugin  # noqa: F401
    """

    def __init_subclass__(cls) -> None:
        raise TypeError("TestPlugin is not subclassed: write down in pyproject.toml why a check does not apply.")


def _as_test(check: Check) -> Callable[..., None]:
    def test(subject: Subject, record_property: Callable[[str, object], None], tmp_path: Path) -> None:
        reason = subject.kit.project.reason_to_skip(check.name, subject.id)
        if reason:
            _leave(record_property, f"switched off: {reason}")
        if check.runs_model and isinstance(subject, ModelSubject) and subject.is_large and not subject.kit.large:
            millions = (subject.model_card.parameters or 0) // 1_000_000
            _leave(record_property, f"not run: {millions} million parameters, give --omlab-large")
        broken = ""  # pytest.fail inside `except` would show every exception behind it too
        try:
            check.run(subject, tmp_path)
        except CannotCheckError as error:
            _leave(record_property, f"not run: {error}")
        except (PromiseError, OmlabError) as error:
            broken = "\n".join([str(error), *_origin(error.__cause__), f"The promise: {check.promise}"])
        if broken:
            pytest.fail(broken, pytrace=False)

    test.__name__ = test.__qualname__ = f"test_{check.name}"
    test.__doc__ = check.run.__doc__
    test.omlab_check = check  # type: ignore[attr-defined]
    return pytest.mark.gpu(test) if check.gpu else test


def _origin(cause: BaseException | None) -> list[str]:
    """Where in the plugin the exception behind a broken promise was raised."""
    frames = traceback.extract_tb(cause.__traceback__) if cause else []
    return [f"raised at {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}"] if frames else []


def _leave(record_property: Callable[[str, object], None], why: str) -> NoReturn:
    record_property(NOTE, why)
    pytest.skip(why)


def _fill(cls: Any) -> None:
    for check in all_checks().values():
        setattr(cls, f"test_{check.name}", staticmethod(_as_test(check)))


_fill(TestPlugin)

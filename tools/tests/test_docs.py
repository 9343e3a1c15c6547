"""What the pages say is so."""

import inspect
import re

import pytest

from omlab import errors, hookspecs
from omlab.cards import KINDS
from tools import reference
from tools.workspace import ROOT

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("omlab_") and inspect.isfunction(hook)}
WRITTEN_HOOKS = set(re.findall(r"^## (.+)$", (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_exact_arguments(name: str) -> None:
    assert f"{name}({', '.join(inspect.signature(HOOKS[name]).parameters)})" in WRITTEN_HOOKS


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert {heading.partition("(")[0] for heading in WRITTEN_HOOKS} == set(HOOKS)


def test_the_first_page_is_called_by_what_omlab_is() -> None:
    said = re.search(r"^site_description: (.+)\.$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert said is not None
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert f"\ntitle: {said[1]}\n" in page  # of the browser's tab
    assert f"\n# omlab: {said[1].lower()}\n" in page


def test_every_error_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    kinds = [
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
    ]
    assert [name for name in kinds if f"`{name}`" not in page and f"`omlab.{name}`" not in page] == []


def test_the_card_reference_has_every_field() -> None:
    page = reference.cards_page()
    assert all(f"## [[{kind}]]" in page for kind in KINDS)
    for field in ("default_weights", "sha256", "beside", "data_licence", "takes", "defaults", "survey", "minimum"):
        assert f"| `{field}` |" in page


def test_the_command_reference_has_every_command() -> None:
    page = reference.cli_page()
    for command in ("predict", "do", "adapt", "evaluate", "list", "info", "weights export", "pulse-eval", "new"):
        assert f"## omlab {command}\n\n```text\nUsage: omlab {command} " in page


def test_the_help_of_every_command_fits_80_columns() -> None:
    assert [line for line in reference.cli_page().splitlines() if len(line) > 80 and not line.startswith("What ")] == []


def test_the_python_reference_shows_signatures_and_sections() -> None:
    page = reference.api_page()
    assert "```python\nload_model(\n    name: str | Path,\n    *,\n" in page
    assert "### omlab.roles.Trainable" in page
    assert "### omlab.predict\n\n```python\npredict(\n    model: " in page
    assert "**Raises**" in page


def test_the_python_reference_turns_sections_into_lists() -> None:
    text = reference._text(
        "Do it.\n\n    Args:\n        a: The first,\n            and more.\n\n    Raises:\n        E: Why.\n    "
    )
    assert text == "Do it.\n\n\n**Args**\n\n- `a`: The first,\n  and more.\n  \n\n**Raises**\n\n- `E`: Why."

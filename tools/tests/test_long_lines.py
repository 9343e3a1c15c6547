"""Code on the site is no broader than a page, and still the same commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import long_lines, pages
from tools.workspace import ROOT, packages

SOURCES = [*sorted((ROOT / "docs").glob("*.md")), *(package.folder / "README.md" for package in packages())]
START = "omlab adapt mine/ --data cases:list.csv --adapter lora -s rank=4 -o small/"
END = "-s epochs=2 -s steps_per_epoch=5"
LONG = f"{START} {END}"


def test_comments_go_above_and_commands_are_continued() -> None:
    text = f"""A command:

    omlab list{" " * 90}# what there is
    {LONG}

```sh
{LONG} # trained
```

```python
if found:
    x = omlab.read("a # b"){" " * 90}# of a case
```

```toml
name = "x"{" " * 90}# is left as it is
```
"""
    shown = long_lines.narrowed(text)
    assert "    # what there is\n    omlab list\n" in shown
    assert f"\n    {START} \\\n        {END}\n" in shown
    assert f"\n# trained\n{START} \\\n    {END}\n" in shown
    assert 'if found:\n    # of a case\n    x = omlab.read("a # b")\n' in shown
    assert f'name = "x"{" " * 90}# is left as it is' in shown
    assert long_lines.narrowed(shown) == shown


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_commands_of_every_page_stay_what_they_are(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    shown = tmp_path / path.name
    shown.write_text(long_lines.narrowed(text), encoding="utf-8")
    assert pages.commands(shown) == pages.commands(path)

"""Reading answers as a careful reader would: what `compat` loses or credits by accident is mended.

Letters: several without a separator are read, words in Latin letters are not. Sets: blank mentions are no
predictions. Cloze: the longest department name wins, so that 'paediatric gastroenterology' is no 'gastroenterology'.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from omlab_medbench import compat

_SAID = re.compile(
    r"(?:答案|选项|选择|应选|选|answer(?:\s+is)?|option)[^A-Za-z\n]{0,8}((?:\(?[A-H]\)?[\s,，、;；和及与/|&]{0,3})+)(?![A-Za-z])",  # noqa: RUF001
    re.IGNORECASE,
)
_ALONE = re.compile(r"(?<![A-Za-z0-9])(?:[A-H]{1,8})(?![A-Za-z0-9])")


def letters(text: str) -> frozenset[str]:
    """The letters of the options that an answer names; their order says nothing."""
    said = [match for match in _SAID.findall(text) if re.search("[A-H]", match)]
    if said:
        return frozenset(re.findall("[A-H]", said[-1]))
    runs = _ALONE.findall(text.strip())
    return frozenset(letter for run in runs if len(set(run)) == len(run) for letter in run)


def without_blanks(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entities whose values are not all but the type blank."""
    kept = []
    for entity in found:
        trimmed = {name: value.strip() if isinstance(value, str) else value for name, value in entity.items()}
        if all(value not in ("", None) for name, value in trimmed.items() if name != "type"):
            kept.append(trimmed)
    return kept


def events(text: str) -> list[dict[str, Any]]:
    """As `compat.events`, the order within lists aside."""
    return unordered(compat.events(text))


def unordered(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entities whose lists are sorted: a list in another order is the same."""
    return [
        {name: sorted(value) if isinstance(value, list) else value for name, value in entity.items()}
        for entity in found
    ]


def cloze(text: str, gold: Collection[str], *, known: Collection[str]) -> bool:
    """Whether the names that the answer holds, the longest first, are exactly the gold ones."""
    named = set()
    for name in sorted({*known, *gold}, key=len, reverse=True):
        if name and name in text:
            named.add(name)
            text = text.replace(name, "\n")
    return named == set(gold)


def yes_no(text: str) -> str:
    """The first sentence that says yes or no decides; '' where none does."""
    for part in re.split("[。\n;；,，]", text):  # noqa: RUF001 - marks of Chinese texts
        if re.search("不可以|不能|不宜|不应|禁用|禁忌|不建议|否", part):
            return "不可以"
        if re.search("可以|能|适用|是", part):
            return "可以"
    return ""

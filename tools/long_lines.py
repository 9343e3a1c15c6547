"""Code that is broader than a page: what stands behind it as a comment goes above it, and long commands are continued.

Only what the site shows is changed: a line of a page's source stays one, with its comment beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

BROADEST = 76
"""Letters of a line that a page shows without breaking it."""

_LANGUAGES = ("", "sh", "console", "python")
_FENCE = re.compile(r"^(```(\w*)[^\n]*\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?:    .*\n|\n(?=    ))+)")
_COMMENT = re.compile(r"(?<=\S)\s+(?=# )")
_COMMAND = re.compile(r"^\s*(\w+=\S+ )*(uv run )?(omlab|torchrun|python|pip|apptainer|docker) ")
_IMPORT = re.compile(r"^\s*(import|from) \w")
_OPTION = re.compile(r" (?=--?\w)")
_STEP = "    "


def narrowed(text: str) -> str:
    """Markdown whose commands and Python have no lines that are broader than `BROADEST`, as far as that can be."""
    parts = []
    place = 0
    for fence in _FENCE.finditer(text):
        opening, language, code, closing = fence.groups()
        parts += [_INDENTED.sub(_block, text[place : fence.start()]), opening]
        parts += [_lines(code) if language in _LANGUAGES else code, closing]
        place = fence.end()
    return "".join([*parts, _INDENTED.sub(_block, text[place:])])


def _block(match: re.Match[str]) -> str:
    """An indented block, where it is one of commands or Python: those of other things are left as they are."""
    is_code = any(_COMMAND.match(line) or _IMPORT.match(line) for line in match[1].splitlines())
    return _lines(match[1], indent=_STEP) if is_code else match[1]


def _lines(text: str, *, indent: str = "") -> str:
    lines, most = text.splitlines(), BROADEST + len(indent)
    is_apart = any(len(line) > most and _parted(line)[1] for line in lines)
    return "".join(f"{line}\n" for line in _narrowed(lines, most=most, is_apart=is_apart))


def _narrowed(lines: Sequence[str], *, most: int, is_apart: bool) -> Iterator[str]:
    """The lines of a block; where it `is_apart` all comments stand above their commands, so that it has one form."""
    for line in lines:
        code, comment = _parted(line) if is_apart else (line, "")
        if comment:
            yield f"{code[: len(code) - len(code.lstrip())]}{comment}"
        if _COMMAND.match(code):
            yield from _continued(code, most=most)
        else:
            yield code


def _parted(line: str) -> tuple[str, str]:
    """A line of code and the comment behind it."""
    for gap in () if line.lstrip().startswith("#") else _COMMENT.finditer(line):
        if _is_outside_quotes(line, gap.start()):
            return line[: gap.start()], line[gap.end() :]
    return line, ""


def _is_outside_quotes(line: str, place: int) -> bool:
    return all(line[:place].count(mark) % 2 == 0 for mark in "'\"")


def _continued(code: str, *, most: int) -> Iterator[str]:
    """A command in lines that end in a backslash, broken before options."""
    start = code[: len(code) - len(code.lstrip())]
    while len(code) > most:
        breaks = [one.start() for one in _OPTION.finditer(code, len(start) + len(_STEP) + 1)]
        fitting = [place for place in breaks if place <= most - 2 and _is_outside_quotes(code, place)]
        if not fitting:
            break
        yield f"{code[: fitting[-1]]} \\"
        code = f"{start}{_STEP}{code[fitting[-1] + 1 :]}"
    yield code

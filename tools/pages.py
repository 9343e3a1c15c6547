"""The commands that the pages show, and a shell to run them in."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STARTS = ("omlab ", "uv run omlab ", "torchrun ")
_SHELLS = ("sh", "console")


def blocks(page: Path, *, language: str = "sh") -> list[str]:
    """The fenced blocks of a page in that language, in order."""
    return [text for found, text in _FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `omlab` command in the page's blocks, fenced or indented, without what stands before."""
    text = page.read_text(encoding="utf-8")
    fenced = "\n".join(block for language in _SHELLS for block in blocks(page, language=language))
    indented = "\n".join(line for line in _FENCE.sub("", text).splitlines() if line.startswith("    "))
    lines = re.sub(r"\\\n\s*", " ", f"{fenced}\n{indented}").splitlines()
    return [words for line in lines for part in re.split(r"\s(?:&&|;|\|)\s", line) if (words := _omlab(part))]


def _omlab(line: str) -> list[str]:
    """What follows `omlab` in a command line; nothing where it is none."""
    line = re.sub(r"^\s*(\$ )?([A-Z_]+=\S+ )*", "", line)
    if not line.startswith(_STARTS) or line.startswith("omlab ("):  # a drawing of the rooms
        return []
    words = shlex.split(line, comments=True)
    return words[words.index("omlab") + 1 :]


def shell(text: str, *, cwd: Path, path: str = "") -> str:
    """Run lines of bash with the commands of this environment; gives what they print.

    Raises `AssertionError` with the output where one fails. `path` is added to PYTHONPATH.
    """
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": path,
        "OMLAB_CACHE": str(cwd / ".cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own pages
    if done.returncode:
        raise AssertionError(f"{text}\n{done.stdout}\n{done.stderr}")
    return done.stdout

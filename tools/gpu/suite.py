"""The kernels' tests in several processes: `kernels` are those of each operator, `promises` what holds of all.

As a plugin of pytest (`-p tools.gpu.suite`) it keeps one share of the tests; pytest-xdist may not be there. Warnings
are shown and fail nothing: those of other versions than ours are not what a GPU is asked about.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

TESTS = Path("packages") / "omlab-kernels" / "tests"
PROMISES = TESTS / "test_gpu.py"
LARGE = "more_than_two_to_the_31"
"""Takes most of a card's memory, so it has a process of its own."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep every n-th test, from the i-th on, where `OMLAB_TESTS_SHARE` is i/n."""
    if not (share := os.environ.get("OMLAB_TESTS_SHARE")):
        return
    number, count = map(int, share.split("/"))
    kept = items[number::count]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def main() -> int:
    """Run a suite; 0 where no test failed."""
    from tools.gpu.processes import at_once

    parser = argparse.ArgumentParser()
    parser.add_argument("suite", choices=["kernels", "promises"])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--marks", default="not slow")
    asked = parser.parse_args()
    if asked.suite == "kernels":
        chosen, alone = [str(TESTS), f"--ignore={PROMISES}"], []
    else:
        chosen, alone = [str(PROMISES), "-k", f"not {LARGE}"], [[str(PROMISES), "-k", LARGE]]
    shares = asked.processes - len(alone)
    commands = [_command(*arguments, marks=asked.marks) for arguments in alone]
    commands += [_command(*chosen, marks=asked.marks, share=f"{number}/{shares}") for number in range(shares)]
    said = at_once(commands)
    counts: Counter[str] = Counter()
    for lines in said:
        for line in lines[-3:]:
            if re.match(r"(no tests|\d+ \w+).* in [\d.]+s", line.strip("= ")):
                counts.update({name: int(count) for count, name in re.findall(r"(\d+) ([a-z]+)", line)})
    print("\n".join(line for lines in said for line in lines if line.startswith(("FAILED", "ERROR"))))
    broken = sum(lines[-1] not in ("0", "5") for lines in said)  # 5: no test was left in a share
    names = ("passed", "failed", "error", "errors", "skipped")
    print(", ".join(f"{counts[name]} {name}" for name in names if counts[name]) + f"; {broken} processes failed")
    return int(broken > 0)


def _command(*arguments: str, marks: str, share: str = "0/1") -> list[str]:
    options = ["-q", "-rfE", "-W", "default", "-p", "no:cacheprovider", "-p", "tools.gpu.suite", "-m", marks]
    configuration = ["-c", "pyproject.toml", "--rootdir", "."]
    share = f"OMLAB_TESTS_SHARE={share}"
    return ["env", share, sys.executable, "-u", "-m", "pytest", *options, *configuration, *arguments]


if __name__ == "__main__":
    sys.exit(main())

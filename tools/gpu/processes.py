"""Commands that run at the same time, their lines told apart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor


def at_once(commands: Sequence[Sequence[str]], *, environment: Mapping[str, str] | None = None) -> list[list[str]]:
    """Run all commands side by side, print their lines as they come, and give those of each; the last is its status."""

    def follow(number: int) -> list[str]:
        lines = []
        with subprocess.Popen(
            commands[number], env={**os.environ, **(environment or {})}, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            for line in child.stdout:
                print(f"[{number}] {line}", end="", flush=True)
                lines.append(line.rstrip("\n"))
        return [*lines, str(child.returncode)]

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(follow, range(len(commands))))

"""Versions of what is installed: of an environment for run logs, of a distribution for the identity of its models."""

from __future__ import annotations

import os
import platform
import re
from collections import deque
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
from typing import Any

_OTHERS = ("torch", "numpy", "triton", "monai", "transformers", "scipy", "nibabel", "pydicom", "highdicom")


_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)\s*(?:\[(?P<extras>[^\]]*)\])?")


@cache
def environment() -> dict[str, Any]:
    """Versions that matter for repeating a run; looked up once a process."""
    versions = {found.name.lower(): found.version for found in distributions() if found.name}
    packages = {name: v for name, v in sorted(versions.items()) if name in _OTHERS or name.startswith("omlab")}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": packages,
    }


@cache
def package_versions(name: str) -> dict[str, str]:
    """Versions of a distribution and of the omlab packages that it declares."""
    try:
        found = distribution(name)
    except (PackageNotFoundError, ValueError):
        return {}
    declared = [re.match(r"[\w.-]+", requirement) for requirement in found.requires or []]
    ours = {part.group().lower() for part in declared if part and part.group().lower().startswith("omlab-")}
    versions = {name: found.version}
    for other in sorted(ours - {name}):
        try:
            versions[other] = version(other)
        except PackageNotFoundError:
            continue
    return versions


@cache
def uses_torch(name: str) -> bool:
    """Whether a distribution depends on torch, by what it and its dependencies declare; True where it is not found."""
    waiting, seen = deque([name]), {name}
    while waiting:
        one = waiting.popleft()
        try:
            declared = distribution(one).requires or []
        except (PackageNotFoundError, ValueError):
            if one == name:
                return True
            continue
        for text in declared:
            found = _REQUIREMENT.match(text)
            if found is None or (one != name and "extra ==" in text):
                continue
            needed, extras = found["name"].lower(), (found["extras"] or "").split(",")
            if needed == "torch" or "torch" in map(str.strip, extras):
                return True
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return False

"""Versions of what is installed: of an environment for run logs, of a distribution for the identity of its models."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
from re import match
from typing import Any

_OTHERS = ("torch", "numpy", "triton", "monai", "transformers", "scipy", "nibabel", "pydicom", "highdicom")


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
    declared = [match(r"[\w.-]+", requirement) for requirement in found.requires or []]
    ours = {part.group().lower() for part in declared if part and part.group().lower().startswith("omlab-")}
    versions = {name: found.version}
    for other in sorted(ours - {name}):
        try:
            versions[other] = version(other)
        except PackageNotFoundError:
            continue
    return versions

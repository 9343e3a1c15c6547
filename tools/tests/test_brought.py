"""What an installed package must not bring: whoever installs one model does not get the libraries of all others."""

from __future__ import annotations

import pytest

from omlab.sizes import installed_distributions, needed_by
from tools.workspace import packages

NEVER = {"monai", "simpleitk", "hypothesis"}
"""What no package brings without an extra, but for the one that is about it."""
ABOUT = {"omlab-monai": {"monai"}}
HEAVY = {"torch", "transformers", "timm", "scikit-learn"}
OF_VOLUMES = {"omlab-volume", "nibabel", "highdicom", "pydicom"}
NOT_BROUGHT: dict[str, set[str]] = {
    "omlab-core": {*HEAVY, "numpy", "safetensors", "pyarrow"},
    "omlab-payloads": {*HEAVY, "pyarrow", "scipy"},
    "omlab-report": {*HEAVY, "scipy"},
    "omlab-retrieval": {"torch", "transformers", "timm", "omlab-image", *OF_VOLUMES},
    "omlab-measure": {"transformers", "timm", "scikit-learn", "omlab-image"},
    "omlab-slide": {"transformers", "timm", "scikit-learn", "pyarrow", *OF_VOLUMES},
    "omlab-prompts": {*HEAVY, *OF_VOLUMES},
    "omlab-medbench": {*HEAVY, *OF_VOLUMES},
    "omlab-pulse-eval": {*HEAVY, *OF_VOLUMES},
    "omlab-stunet": {"timm", "transformers", "scikit-learn"},
    "omlab-sammed3d": {"timm", "transformers", "scikit-learn"},
    "omlab-retfound": OF_VOLUMES,
    "omlab-pathoduet": {"omlab-volume", "nibabel", "highdicom", "transformers"},
    "omlab-timm": OF_VOLUMES,
    "omlab-deblurmim": OF_VOLUMES,
    "omlab-usfm": OF_VOLUMES,
    "omlab-misfm": {"timm", "transformers", "scikit-learn"},
    "omlab-medfmc": OF_VOLUMES,
}
INSTALLED = installed_distributions()


@pytest.mark.parametrize("name", [package.name for package in packages() if package.name in INSTALLED])
def test_a_package_does_not_bring(name: str) -> None:
    brought = needed_by(name, INSTALLED)
    assert brought, f"{name} needs nothing, not even the core: its metadata were not read"
    assert brought & (NEVER | NOT_BROUGHT.get(name, set())) == ABOUT.get(name, set())

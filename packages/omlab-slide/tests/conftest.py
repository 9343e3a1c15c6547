"""Where the real images are."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def shared_data() -> Path:
    """The real images beside the repository; skips where they are absent."""
    folders = (parent / "shared" / "data" for parent in Path(__file__).resolve().parents)
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        pytest.skip("the real images are not beside this repository")
    return folder

"""Links as users know them."""

from __future__ import annotations

import pytest

from omlab.errors import UsageError
from omlab.weights import sources


def test_links_as_users_know_them() -> None:
    identity = "1BHCp1Ort-OaVFwaZmvsG4qHiKiPeNb4h"
    for link in (
        f"https://drive.google.com/file/d/{identity}/view?usp=sharing",
        f"https://drive.google.com/file/d/{identity}",
        f"https://drive.google.com/open?id={identity}&usp=drive_copy",
        f"https://drive.google.com/uc?export=download&id={identity}",
        f"https://drive.google.com/file/u/0/d/{identity}/edit",
    ):
        assert sources.parse(link) == sources.Source(kind="drive", where=identity)
    hub = sources.parse("hf://owner/repo/sub/w.bin@refs/pr/1")
    assert (hub.repository, hub.where, hub.revision) == ("owner/repo", "sub/w.bin", "refs/pr/1")
    assert sources.parse("hf://owner/repo/w.bin").revision is None
    folder = "https://drive.google.com/drive/folders/1mt5suOG9RkVg4lV85_RMnJ5dZTm_tRo2"
    assert sources.parse(folder) == sources.Source(kind="folder", where=folder)
    for link in (
        "https://drive.google.com/",
        "hf://owner/repo",
        "http://example.org/w.bin",
        "ftp://example.org/w.bin",
    ):
        with pytest.raises(UsageError):
            sources.parse(link)

"""Files that replace others have the rights of files made plainly, and nothing else of the process changes."""

import os

import pytest

from omlab.files import replacing


@pytest.fixture
def careful():
    """A umask under which the group may read alone."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_has_the_rights_of_one_made_plainly(tmp_path, careful):
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.touch(mode=0o600)  # as some libraries make theirs
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_other_threads_make_their_files_as_ever(tmp_path, monkeypatch):
    """To ask for the umask is to set it for a moment, in which another thread's file would be private for good."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.touch()

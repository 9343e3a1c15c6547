"""Silence for what libraries say of odd files, and one sentence for what they raise of files that they cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from omlab.errors import OmlabError, OutputError, one_line
from omlab.silence import silent

quiet = partial(
    silent,
    *("pydicom", "highdicom", "nibabel", "zarr", "tifffile"),
    unheard=["highdicom", "tifffile"],
    printing=["nibabel.global"],
)
"""Without the warnings of these libraries, and what they log where nobody listens (`omlab.silence`)."""


@contextmanager
def in_a_sentence(path: Path, *, what: str, instead: str) -> Iterator[None]:
    """Makes an `OutputError` of whatever highdicom and pydicom raise: a source may break the standard in many ways.

    Args:
        path: What is written.
        what: The kind of DICOM object.
        instead: What can be written in its place.
    """
    try:
        yield
    except (OmlabError, OSError):
        raise
    except Exception as error:
        raise OutputError(f"{path.name} cannot be written as {what}: {one_line(error)}; write {instead}.") from error

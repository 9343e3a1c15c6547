"""Libraries are silent while files are read, by several threads too; what omlab says is heard."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydicom.uid import UID

from omlab.errors import OmlabWarning
from omlab_volume.io.quiet import quiet

ODD = "1.2.x"  # pydicom remarks on it


def _said_while_reading() -> None:
    with quiet():
        with quiet():
            UID(ODD)
        UID(ODD)
        warnings.warn("heard", OmlabWarning, stacklevel=1)


def test_only_libraries_are_silent() -> None:
    before = list(warnings.filters)
    with pytest.warns(OmlabWarning, match="heard"):
        _said_while_reading()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="Invalid value"):
        UID(ODD)


def test_threads_leave_the_filters_as_they_were() -> None:
    before = list(warnings.filters)

    def read(number: int) -> None:
        with quiet():
            for _ in range(20):
                UID(f"{ODD}{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(200)))
    assert list(warnings.filters) == before

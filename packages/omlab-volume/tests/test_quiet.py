"""pydicom's remarks on odd files are not for the user; what omlab says is heard."""

from __future__ import annotations

import warnings

import pytest
from pydicom.uid import UID

from omlab.errors import OmlabWarning
from omlab_volume.io.quiet import quiet

ODD = "1.2.x"  # pydicom remarks on it


def _said_while_reading() -> None:
    with quiet():
        UID(ODD)
        warnings.warn("heard", OmlabWarning, stacklevel=1)


def test_only_libraries_are_silent() -> None:
    with pytest.warns(OmlabWarning, match="heard"):
        _said_while_reading()
    with pytest.warns(UserWarning, match="Invalid value"):
        UID(ODD)

"""Silence for what the libraries that read images say of odd files."""

from functools import partial

from omlab.silence import silent

quiet = partial(silent, "PIL", "pydicom", "pylibjpeg")
"""Without their warnings (`omlab.silence`)."""

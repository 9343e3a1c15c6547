"""Outputs of a network as the label values that its classes have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from omlab_volume.labels import smallest_unsigned
from omlab_volume.volume import Label, LabelMap


def with_values(found: LabelMap, labels: Sequence[Label]) -> LabelMap:
    """A label map of outputs 0, 1, 2, ... with the values of `labels`, that of output 1 first."""
    values = np.array([0, *(label.value for label in labels)])
    array = smallest_unsigned(values, what="the label values of this model")[found.array]
    return replace(found, array=array, labels=tuple(labels))

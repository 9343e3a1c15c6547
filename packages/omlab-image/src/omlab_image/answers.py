"""What networks give, as payloads: logits as classes, the best class of each pixel as a label map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from omlab_image.image import Image, LabelMap2D
from omlab_payloads.classes import Classes


def classes_of(logits: Tensor, *, names: Sequence[str], threshold: float | None) -> Classes:
    """The classes of one image.

    Args:
        logits: (K,), on the CPU.
        names: Of the K classes.
        threshold: None: one class is right, so that probabilities add up to 1 (softmax). A number: each is right or not
            by itself (sigmoid), from there on.
    """
    found = logits.double().softmax(0) if threshold is None else logits.double().sigmoid()
    return Classes(names=names, probabilities=found.tolist(), threshold=threshold)


def label_map_of(best: NDArray[np.integer], *, values: Sequence[int], names: Sequence[str], image: Image) -> LabelMap2D:
    """The label map of an image, on its own pixels.

    Args:
        best: (H, W), 0 for the background, n for the n-th of `values`.
        values: Of the classes in label maps.
        names: Of the classes.
        image: Whose label map it is.
    """
    table = np.array([0, *values])
    array = table.astype(np.uint8 if table.max() < 256 else np.uint16)[best]
    return LabelMap2D(
        array=array, names=dict(zip(values, names, strict=True)), spacing=image.spacing, source=image.source
    )

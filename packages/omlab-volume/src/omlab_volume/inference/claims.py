"""Objects that are segmented each by itself, such as those a user points at, on one grid: the surest has a voxel.

claims = Claims(shape, objects=2)
claims.claim(logits, label=1)
claims.claim(others, label=2, at=region)
claims.labels, claims.facts(["liver", "spleen"], voxel_ml=0.008)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omlab_payloads.sureness import Sureness
from omlab_volume.labels import voxel_counts

_SLAB = 16


class Claims:
    """Labels of an array to which objects lay claim: where two do, the surer one has it.

    Args:
        shape: Of pixels or voxels; the last two axes are those within slices.
        objects: How many there are.
        logits: Whether claims are logits; else they are probabilities. What is not above 0, or one half, is background.
    """

    def __init__(self, shape: tuple[int, ...], *, objects: int, logits: bool = True) -> None:
        self.labels = np.zeros(shape, np.uint8 if objects < 256 else np.uint16)
        self._is_logits = logits
        self._best = np.full(shape, 0.0 if logits else 0.5, np.float32)  # of what is labelled

    def claim(self, found: NDArray[np.float32], *, label: int, at: Any = ...) -> None:
        """What an object claims of the voxels `at` an index."""
        better = found > self._best[at]
        self._best[at][better] = found[better]
        self.labels[at][better] = label

    def facts(
        self,
        names: Sequence[str],
        *,
        voxel_ml: float | None,
        more: Mapping[str, Mapping[str, float]] | None = None,
    ) -> dict[str, Any]:
        """What a label map tells of objects 1, 2, ... (`omlab_payloads.sureness`).

        Args:
            names: Theirs.
            voxel_ml: The volume of a voxel; None: they are pixels.
            more: What else is known of an object, by its name.
        """
        sureness = Sureness(len(names) + 1, softmax=False)
        labels, best = (part.reshape(-1, *part.shape[-2:]) for part in (self.labels, self._best))
        for first in range(0, len(labels), _SLAB):
            slab = torch.from_numpy(best[first : first + _SLAB])
            probability = slab.sigmoid() if self._is_logits else slab
            sureness.add_decided(torch.from_numpy(labels[first : first + _SLAB].astype(np.int32)), probability)
        counts = voxel_counts(labels, least=len(names) + 1).tolist()
        found = sureness.facts(dict(enumerate(names, start=1)), counts=counts, voxel_ml=voxel_ml)["structures"]
        return {"structures": {name: {**facts, **(more or {}).get(name, {})} for name, facts in found.items()}}

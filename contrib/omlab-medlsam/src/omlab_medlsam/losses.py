"""What MedLAM learns from volumes without labels: how far apart two patches lie, and which voxels show the same place.

Source: Lei et al. 2023, arXiv 2306.14752, section III-B: relative distance regression (RDR) and multi-scale similarity
(MSS).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from omlab_medlsam.localisation import REACH, distances
from omlab_medlsam.network import Features, unit_length

FACTORS = (4, 2, 1)
"""How many voxels of a patch a voxel of each level of features spans."""
TEMPERATURE = 15.0
NEAR = 3.0
"""Up to so many mm, times its factor, a voxel of a level shows the same place as a point; from twice that on none."""


def distance_loss(first: Tensor, second: Tensor, wanted: Tensor, *, reach: Sequence[float] = REACH) -> Tensor:
    """Squared error of the distance between two patches, mean over batch and axes.

    Args:
        first: Positions (B, 3) of patches.
        second: Of other patches of the same volumes.
        wanted: mm (B, 3) from the centre of the second to that of the first.
        reach: As `omlab_medlsam.localisation.distances` has it.
    """
    return functional.mse_loss(distances(first, second, reach=reach), wanted)


def similarity_loss(
    original: Features,
    deformed: Features,
    gaps: Tensor,
    points: Tensor,
    *,
    near: float = NEAR,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """How badly points of patches are found in deformed patches of the same places.

    A voxel of a level is the same place up to `near` mm times its factor from a point, and another one from twice that
    on; what lies between does not count. Of each level the mean over all of the same place and that over all of other
    places are taken, batch and points together, and (as published) their sum is divided by the points once more. Where
    no voxel shows the same place, or all do, that mean is 0.

    Args:
        original: Of patches (B, C, ...).
        deformed: Of the deformed patches.
        gaps: (B, K, D, H, W) mm from each voxel of the deformed patches to the places of the points.
        points: (K, 3) voxels of the original patches.
        near: mm.
        temperature: What cosines are multiplied by.
    """
    terms = []
    for here, there, factor in zip(original, deformed, FACTORS, strict=True):
        z, y, x = (points // factor).unbind(1)
        wanted = unit_length(here[:, :, z, y, x]).transpose(1, 2)  # (B, K, C)
        cosines = wanted @ unit_length(there.flatten(2))  # (B, K, voxels)
        logs = functional.log_softmax(temperature * cosines, dim=2)
        far = gaps if factor == 1 else functional.interpolate(gaps, size=there.shape[2:], mode="trilinear")
        far = far.flatten(2)
        same, other = far <= near * factor, far >= 2 * near * factor
        others = torch.log1p(-logs.exp().clamp(max=1 - 1e-6))
        terms.append(_mean_where(same, logs) + _mean_where(other, others))
    return -torch.stack(terms).mean() / len(points)


def gaps_to(places: Tensor, deformed: Tensor) -> Tensor:
    """Distances in mm (B, K, D, H, W) from each voxel of deformed patches to the places of points.

    Args:
        places: (B, K, 3) mm.
        deformed: (B, 3, D, H, W) mm: where each voxel of the patches lies.
    """
    gaps: Tensor = torch.linalg.vector_norm(deformed[:, None] - places[..., None, None, None], dim=2)
    return gaps


def _mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    """The mean of the values that are chosen; 0 where none is."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)

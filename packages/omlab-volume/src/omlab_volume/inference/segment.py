"""From an image to its label map: prepare, predict, and back to the grid that the image came on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from omlab_payloads.sureness import Sureness
from omlab_volume.inference.export import predict_labels
from omlab_volume.inference.preprocess import Plan, prepare
from omlab_volume.inference.sliding_window import Combine, Network
from omlab_volume.inference.windows import Tiling
from omlab_volume.labels import voxel_counts
from omlab_volume.orientation import reorient_labels
from omlab_volume.volume import Label, LabelMap, Volume


def segment(
    network: Network,
    volume: Volume,
    *,
    plan: Plan,
    labels: Sequence[Label],
    classes: int | None = None,
    channels: int | None = None,
    mirror: bool | Sequence[int] = True,
    combine: Combine = "probabilities",
    step: float = 0.5,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    accumulate_device: torch.device | str | None = None,
    sum_type: torch.dtype | None = None,
    tiling: Tiling | None = None,
) -> LabelMap:
    """The label map of `volume`, on its grid.

    Args:
        network: windows (B, C, z, y, x) to scores (B, K, z, y, x), in evaluation mode on `device`; output k is
            the class whose label has value k, output 0 the background.
        volume: any orientation and spacing.
        plan: what the network was trained with.
        labels: the classes.
        classes: K; by default one more than the highest label.
        channels: how many channels the network takes, if that is to be checked.
        mirror: as in `omlab_volume.inference.sliding_window.SlidingWindow`, like all that follow.
        combine: what is blended.
        step: distance of windows.
        batch_size: windows in one call.
        device: the network's.
        accumulate_device: of the sums.
        sum_type: of the sums; by default torch.float16 where they would be large.
        tiling: windows and weights in place of nnU-Net's.

    Returns:
        Labels with the shape, affine and source of `volume`; 0 outside the crop. Its `facts` say how large each
        structure is and how sure the network is of it (`omlab_payloads.sureness`).

    Raises:
        InputError: the volume does not fit the network.
        OmlabError: prediction failed; the sentence says why.
    """
    prepared = prepare(volume, plan, channels=channels)
    classes = classes or max((label.value for label in labels), default=0) + 1
    sureness = Sureness(classes, softmax=combine == "logits")
    decided = predict_labels(
        network,
        torch.from_numpy(prepared.array),
        patch_size=plan.patch_size,
        classes=classes,
        shape=prepared.cropped_shape,
        separate=prepared.separate,
        step=step,
        mirror=mirror,
        combine=combine,
        batch_size=batch_size,
        device=device,
        accumulate_device=accumulate_device,
        sum_type=sum_type,
        sureness=sureness,
        tiling=tiling,
    )
    counts = voxel_counts(decided, least=classes)
    facts = sureness.facts(
        {label.value: label.name for label in labels}, counts=counts.tolist(), voxel_ml=prepared.canonical.voxel_ml
    )
    whole = np.zeros(prepared.canonical.shape[::-1], decided.dtype)
    whole[prepared.crop] = decided
    array = reorient_labels(whole.transpose(2, 1, 0), prepared.source)
    return LabelMap(array=array, affine=volume.affine, labels=tuple(labels), source=volume.source, facts=facts)

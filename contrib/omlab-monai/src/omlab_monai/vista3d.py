"""VISTA3D's automatic classes: a network of MONAI's whose classes are embeddings, asked for a fixed list of them.

He et al., VISTA3D, CVPR 2025, arXiv 2406.05285. Its other half, which follows clicks, is there for its weights alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.segresnet_ds import SegResNetDS2
from monai.networks.nets.vista3d import VISTA3D, ClassMappingClassify, PointMappingSAM
from torch import Tensor

from omlab_volume.inference.preprocess import Plan

CLASSES = 512
"""Embeddings, of which those up to `SUPPORTED` were trained."""
SUPPORTED = 132
_NOT_AUTOMATIC = {2, 16, 18, *range(20, 22), *range(23, 28), *range(128, 133)}
EVERYTHING = tuple(n for n in range(1, SUPPORTED + 1) if n not in _NOT_AUTOMATIC)
"""The classes that the published bundle looks for where nothing is asked for: no lesions, and no wholes of parts."""
_LOW, _HIGH = -963.8247715525971, 1053.678477684517
PLAN = Plan(
    spacing=(1.5, 1.5, 1.5),
    patch_size=(128, 128, 128),
    normalisation="ct",
    percentile_low=_LOW,
    percentile_high=_HIGH,
    mean=_LOW,
    std=_HIGH - _LOW,
)
"""How the published weights want CT: 1.5 mm, HU from -964 to 1054 brought to 0..1."""


class AutomaticVista3D(VISTA3D):
    """(B, C, z, y, x) -> logits (B, K, z, y, x): the background at 0, then those of the classes asked for.

    So a voxel is background where no class has a probability (sigmoid) above one half, else the class of the highest,
    as the published pipeline decides it.

    Args:
        in_channels: C.
        width: Channels of the first stage, and of the embeddings (published: 48).
        classes: Numbers of the embeddings, each once.
    """

    def __init__(self, *, in_channels: int, width: int, classes: Sequence[int]) -> None:
        if not classes or len(set(classes)) < len(classes) or not all(0 < n < CLASSES for n in classes):
            raise ValueError(f"classes must be numbers from 1 to {CLASSES - 1}, each once, not {list(classes)}.")
        super().__init__(
            image_encoder=SegResNetDS2(
                in_channels=in_channels,
                blocks_down=(1, 2, 2, 4, 4),
                norm="instance",
                out_channels=width,
                init_filters=width,
                dsdepth=1,
            ),
            class_head=ClassMappingClassify(n_classes=CLASSES, feature_size=width, use_mlp=True),
            point_head=PointMappingSAM(feature_size=width, n_classes=CLASSES, last_supported=SUPPORTED),
        )
        self.classes = tuple(classes)

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        """The logits."""
        asked = torch.tensor(self.classes, device=image.device)[:, None]
        turned = image.transpose(2, 4)  # MONAI counts x, y, z
        logits: Tensor = super().forward(turned, class_vector=asked, transpose=True).transpose(2, 4)
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)

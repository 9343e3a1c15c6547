"""SAM-Med3D: image encoder, prompt encoder and mask decoder.

Wang et al., "SAM-Med3D", arXiv 2310.15161. Module names are those of the published checkpoints, so that their
keys are ours. Coordinates of points and boxes are voxels in the order of the array's axes, voxel centres whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_sam.decoder import MaskDecoder
from omlab_sam.prompt_encoder import PromptEncoder
from omlab_sammed3d.attention import RelPos
from omlab_sammed3d.encoder import ImageEncoder


@dataclass(frozen=True, kw_only=True)
class SamMed3dConfig:
    """The hyper-parameters; the defaults are those of all published weights (`vit_b_ori`).

    `point_embeddings` is 2, or 4 where boxes can be prompts (the challenge branch). `rel_pos` is `sam-med3d`
    for published weights; `textbook` is the form of other networks of the family, for new trainings.
    """

    image_size: int = 128
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    prompt_width: int = 384
    multimask_outputs: int = 3
    point_embeddings: int = 2
    rel_pos: RelPos = "sam-med3d"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{field.name} must be at least 1, not {value}.")
        if self.image_size % self.patch:
            raise ValueError(f"The image size {self.image_size} is not a multiple of the patch size {self.patch}.")
        if self.width % self.heads:
            raise ValueError(f"The width {self.width} is not a multiple of the {self.heads} heads.")
        if self.prompt_width % 48:
            raise ValueError(
                f"The prompt width {self.prompt_width} is not a multiple of 48 (3 axes; 8 heads of half the width)."
            )
        if self.point_embeddings not in (2, 4):
            raise ValueError(f"There are 2 point embeddings, or 4 with boxes, not {self.point_embeddings}.")
        if self.rel_pos not in ("sam-med3d", "textbook"):
            raise ValueError(f"rel_pos must be sam-med3d or textbook, not {self.rel_pos!r}.")

    @property
    def grid(self) -> int:
        """Tokens along each axis."""
        return self.image_size // self.patch

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution masks: four voxels a token."""
        return 4 * self.grid


VARIANTS: dict[str, SamMed3dConfig] = {
    "vit_b_ori": SamMed3dConfig(),
    "vit_b": SamMed3dConfig(image_size=256, width=384),
    "vit_l": SamMed3dConfig(image_size=256, width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "vit_h": SamMed3dConfig(image_size=256, width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}
"""The variants of upstream's registry, by its names; weights were published for `vit_b_ori` only."""


class SamMed3d(nn.Module):
    """The whole network: encode an image once, then decode it for one round of prompts after another."""

    def __init__(self, config: SamMed3dConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(
            grid=config.grid,
            patch=config.patch,
            dim=config.width,
            depth=config.depth,
            heads=config.heads,
            global_blocks=config.global_blocks,
            window=config.window,
            out_channels=config.prompt_width,
            rel_pos=config.rel_pos,
        )
        self.prompt_encoder = PromptEncoder(
            config.prompt_width,
            image_size=config.image_size,
            grid=config.grid,
            axes=3,
            kinds=config.point_embeddings,
        )
        self.mask_decoder = MaskDecoder(config.prompt_width, masks=config.multimask_outputs + 1, axes=3)

    def forward(self, image: Tensor, *, points: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, 1, S, S, S) of images (B, 1, S, S, S), z-normalised, after one round of clicks."""
        logits, _ = self.decode(self.image_encoder(image), points=points, labels=labels)
        return self.upsample(logits)

    def decode(
        self,
        embedding: Tensor,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        previous: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """One round of prompts.

        Args:
            embedding: (B or 1, C, S, S, S), what `image_encoder` gave.
            points: (B, P, 3) voxels of the image.
            labels: (B, P): 1 in the object, 0 outside it, -1 no point.
            boxes: (B, 6): near corner, far corner.
            previous: (B, 1, M, M, M): the logits of the round before; None in the first one, which is a mask of
                zeros, as in training.
            multimask: Masks 1 to 3 in place of mask 0; untrained in published weights.

        Returns:
            Logits (B, 1 or 3, M, M, M), M = `config.mask_size`, and the predicted IoUs of all masks (B, 4). Only mask 0
            was ever trained by the authors; the other masks and all IoUs were not.
        """
        if previous is None:
            count = next((len(given) for given in (points, boxes) if given is not None), len(embedding))
            previous = embedding.new_zeros(count, 1, *(self.config.mask_size,) * 3)
        sparse, dense = self.prompt_encoder(points=points, labels=labels, boxes=boxes, masks=previous)
        grid = self.prompt_encoder.dense_pe()
        logits, ious = self.mask_decoder.all_masks(embedding, dense_pe=grid, sparse=sparse, dense=dense)
        return (logits[:, 1:] if multimask else logits[:, :1]), ious

    def upsample(self, logits: Tensor) -> Tensor:
        """Low-resolution logits (B, N, M, M, M) -> (B, N, S, S, S), trilinear."""
        size = (self.config.image_size,) * 3
        return functional.interpolate(logits, size=size, mode="trilinear", align_corners=False)


def untrained(config: SamMed3dConfig, *, seed: int = 0) -> SamMed3d:
    """A network in eval mode with PyTorch's initial values and zero position tables, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SamMed3d(config).eval()

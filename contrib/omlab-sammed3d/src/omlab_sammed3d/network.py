"""SAM-Med3D: image encoder, prompt encoder and mask decoder.

Wang et al., "SAM-Med3D", arXiv 2310.15161. Module names are those of the published checkpoints, so that their
keys are ours. Coordinates of points and boxes are voxels in the order of the array's axes, voxel centres whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab_sam.parts import ChannelNorm, Head, TwoWayTransformer
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


class RandomPositions(nn.Module):
    """Places in [0, 1]^3 as sines and cosines of random frequencies."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 3))

    def forward(self, places: Tensor) -> Tensor:
        """(..., 3) -> (..., width): sine, cosine and once more sine."""
        phase = 2 * pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((phase.sin(), phase.cos(), phase.sin()), dim=-1)


class PromptEncoder(nn.Module):
    """Clicks, boxes and masks as tokens (sparse) and as a grid (dense)."""

    def __init__(self, config: SamMed3dConfig) -> None:
        super().__init__()
        width = config.prompt_width
        self.image_size, self.grid = config.image_size, config.grid
        self.pe_layer = RandomPositions(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(config.point_embeddings))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, 4, kernel_size=2, stride=2),
            ChannelNorm(4),
            nn.GELU(),
            nn.Conv3d(4, 16, kernel_size=2, stride=2),
            ChannelNorm(16),
            nn.GELU(),
            nn.Conv3d(16, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(
        self,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode the prompts of B objects.

        Args:
            points: (B, P, 3) voxels.
            labels: (B, P): 1 in the object, 0 outside it, -1 no point.
            boxes: (B, 6): near corner, far corner.
            masks: (B, 1, M, M, M): raw low-resolution logits of the round before, zeros in the first one. None
                gives a vector that was never trained.

        Returns:
            Sparse (B, T, C) and dense (B, C, grid, grid, grid) embeddings.
        """
        if (points is None) != (labels is None):
            raise ValueError("Points and their labels must be given together.")
        tokens = []
        if points is not None and labels is not None:
            tokens.append(self._points(points, labels, pad=boxes is None))
        if boxes is not None:
            tokens.append(self._boxes(boxes))
        count = next((len(given) for given in (points, boxes, masks) if given is not None), 1)
        own = self.no_mask_embed.weight
        sparse = torch.cat(tokens, dim=1) if tokens else own.new_zeros(count, 0, own.shape[1])
        if masks is not None:
            return sparse, self.mask_downscaling(masks)
        return sparse, own.reshape(1, -1, 1, 1, 1).expand(count, -1, *(self.grid,) * 3)

    def dense_positions(self) -> Tensor:
        """(1, C, grid, grid, grid): where each place of the image embedding lies.

        The first two axes are swapped against those of points: left over from 2-D, and trained so.
        """
        along = (torch.arange(self.grid, device=self.no_mask_embed.weight.device) + 0.5) / self.grid
        i, j, k = torch.meshgrid(along, along, along, indexing="ij")
        encoded: Tensor = self.pe_layer(torch.stack((j, i, k), dim=-1))
        return encoded.movedim(-1, 0)[None]

    def _points(self, points: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        if pad:  # SAM's convention: without boxes there is always one token that is no point
            points = torch.cat((points, points.new_zeros(len(points), 1, 3)), dim=1)
            labels = torch.cat((labels, labels.new_full((len(labels), 1), -1)), dim=1)
        outside, inside = (self._kind(n) for n in (0, 1))
        encoded, kind = self._encode(points), labels[..., None]
        encoded = torch.where(kind == -1, self.not_a_point_embed.weight, encoded)
        return encoded + (kind == 0) * outside + (kind == 1) * inside

    def _boxes(self, boxes: Tensor) -> Tensor:
        if len(self.point_embeddings) < 4:
            raise ValueError("This network takes no boxes: it has 2 point embeddings, and boxes need 4.")
        corners = torch.cat([self._kind(n) for n in (2, 3)])
        return self._encode(torch.unflatten(boxes, -1, (2, 3))) + corners

    def _kind(self, number: int) -> Tensor:
        embedding = self.point_embeddings[number]
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight

    def _encode(self, voxels: Tensor) -> Tensor:
        encoded: Tensor = self.pe_layer((voxels.to(self.no_mask_embed.weight.dtype) + 0.5) / self.image_size)
        return encoded


class MaskDecoder(nn.Module):
    """Low-resolution mask logits and predicted IoUs from embeddings."""

    def __init__(self, config: SamMed3dConfig) -> None:
        super().__init__()
        dim, masks = config.prompt_width, config.multimask_outputs + 1
        self.transformer = TwoWayTransformer(dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(masks, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(dim, dim // 4, kernel_size=2, stride=2),
            ChannelNorm(dim // 4),
            nn.GELU(),
            nn.ConvTranspose3d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Head(dim, hidden=dim, out=dim // 8) for _ in range(masks))
        self.iou_prediction_head = Head(dim, hidden=256, out=masks)

    def forward(self, image: Tensor, *, grid: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """All masks of B objects.

        Args:
            image: (B or 1, C, S, S, S) image embedding.
            grid: (1, C, S, S, S) its positions.
            sparse: (B, T, C) tokens of the prompts.
            dense: (B, C, S, S, S) grid of the prompts.

        Returns:
            Logits (B, masks, 4S, 4S, 4S) and predicted IoUs (B, masks). Only mask 0 was ever trained by the
            authors; the other masks and all IoUs were not.
        """
        count, size = len(sparse), image.shape[2:]
        own = torch.cat((self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((own.expand(count, -1, -1), sparse), dim=1)
        tokens, places = self.transformer(
            tokens,
            (image + dense).flatten(2).transpose(1, 2),
            grid=grid.flatten(2).transpose(1, 2).expand(count, -1, -1),
        )
        upscaled = self.output_upscaling(places.transpose(1, 2).unflatten(2, size))
        kernels = torch.stack([head(tokens[:, 1 + n]) for n, head in enumerate(self.output_hypernetworks_mlps)], dim=1)
        return torch.einsum("bmc,bcijk->bmijk", kernels, upscaled), self.iou_prediction_head(tokens[:, 0])


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
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)

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
            Logits (B, 1 or 3, M, M, M), M = `config.mask_size`, and the predicted IoUs of all masks (B, 4).
        """
        if previous is None:
            count = next((len(given) for given in (points, boxes) if given is not None), len(embedding))
            previous = embedding.new_zeros(count, 1, *(self.config.mask_size,) * 3)
        sparse, dense = self.prompt_encoder(points=points, labels=labels, boxes=boxes, masks=previous)
        grid = self.prompt_encoder.dense_positions()
        logits, ious = self.mask_decoder(embedding, grid=grid, sparse=sparse, dense=dense)
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


def layers_of(network: SamMed3d) -> list[list[str]]:
    """Parameter names from input to head: patches and positions, each block, the neck, prompt encoder and decoder."""
    names = [name for name, _ in network.named_parameters()]
    blocks = [f"image_encoder.blocks.{n}." for n in range(network.config.depth)]
    first = [name for name in names if name.startswith(("image_encoder.pos_embed", "image_encoder.patch_embed."))]
    inside = [[name for name in names if name.startswith(block)] for block in blocks]
    last = [name for name in names if name.startswith(("prompt_encoder.", "mask_decoder."))]
    known = {*first, *last, *(name for block in inside for name in block)}
    neck = [name for name in names if name not in known]
    return [first, *inside, neck, last]

"""SAM's prompt encoder, in two dimensions as in three: places as waves, points and corners as tokens, masks as a grid.

Module names are those of the published checkpoints.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from omlab_sam.parts import ChannelNorm


class RandomPositions(nn.Module):
    """Places in [0, 1]^axes as sines and cosines of random frequencies."""

    def __init__(self, width: int, *, axes: int) -> None:
        super().__init__()
        self.axes = axes
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(axes, width // axes))

    def forward(self, places: Tensor) -> Tensor:
        """(..., axes) -> (..., width): sine, cosine and, of three axes, once more sine."""
        phase = 2 * pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((phase.sin(), phase.cos(), phase.sin())[: self.axes], dim=-1)


class PromptEncoder(nn.Module):
    """Points, boxes and masks as tokens (sparse) and as a grid (dense).

    Args:
        width: C, of the embeddings.
        image_size: Pixels, or voxels, along each axis of the image.
        grid: S, places of its embedding along each axis.
        axes: 2, or 3 for a volume.
        kinds: Point embeddings: 2, or 4 where boxes can be prompts.
    """

    def __init__(self, width: int, *, image_size: int, grid: int, axes: int = 2, kinds: int = 4) -> None:
        super().__init__()
        self.image_size, self.grid, self.axes = image_size, grid, axes
        self.pe_layer = RandomPositions(width, axes=axes)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(kinds))
        self.not_a_point_embed = nn.Embedding(1, width)
        conv = (nn.Conv2d, nn.Conv3d)[axes - 2]
        self.mask_downscaling = nn.Sequential(
            conv(1, 4, kernel_size=2, stride=2),
            ChannelNorm(4),
            nn.GELU(),
            conv(4, 16, kernel_size=2, stride=2),
            ChannelNorm(16),
            nn.GELU(),
            conv(16, width, kernel_size=1),
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
            points: (B, P, axes), where pixel centres are whole numbers.
            labels: (B, P): 1 in the object, 0 outside it, -1 no point.
            boxes: (B, 2 axes): the near corner, then the far one.
            masks: (B, 1, 4S, 4S) or, of volumes, (B, 1, 4S, 4S, 4S): low-resolution masks in the form that the weights
                were trained with, logits for SAM and SAM-Med3D, probabilities for SAM-Med2D. Without them each place
                has one vector, which SAM-Med3D never trained.

        Returns:
            Sparse (B, T, C), points before corners, and dense (B, C, S, S) or (B, C, S, S, S) embeddings. Without any
            prompt B is 1.

        Raises:
            ValueError: Points without labels, or boxes for weights that know none.
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
        return sparse, own.reshape(1, -1, *(1,) * self.axes).expand(count, -1, *(self.grid,) * self.axes)

    def dense_pe(self) -> Tensor:
        """(1, C, S, S) or (1, C, S, S, S): where each place of the image embedding lies.

        The first two axes are swapped against the array's: points in a picture are (x, y), its rows come first. In
        volumes, whose points have the order of the array, that is left over, and trained so.
        """
        along = (torch.arange(self.grid, device=self.no_mask_embed.weight.device) + 0.5) / self.grid
        first, second, *third = torch.meshgrid(*(along,) * self.axes, indexing="ij")
        encoded: Tensor = self.pe_layer(torch.stack((second, first, *third), dim=-1))
        return encoded.movedim(-1, 0)[None]

    def _points(self, points: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        if pad:  # without boxes there is always one token that is no point
            points = torch.cat((points, points.new_zeros(len(points), 1, self.axes)), dim=1)
            labels = torch.cat((labels, labels.new_full((len(labels), 1), -1)), dim=1)
        encoded, kind = self._encode(points), labels[..., None]
        encoded = torch.where(kind == -1, self.not_a_point_embed.weight, encoded)
        return encoded + (kind == 0) * self._kind(0) + (kind == 1) * self._kind(1)

    def _boxes(self, boxes: Tensor) -> Tensor:
        if len(self.point_embeddings) < 4:
            raise ValueError("This network takes no boxes: it has 2 point embeddings, and boxes need 4.")
        return self._encode(torch.unflatten(boxes, -1, (2, self.axes))) + torch.cat([self._kind(n) for n in (2, 3)])

    def _kind(self, number: int) -> Tensor:
        embedding = self.point_embeddings[number]
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight

    def _encode(self, places: Tensor) -> Tensor:
        encoded: Tensor = self.pe_layer((places.to(self.no_mask_embed.weight.dtype) + 0.5) / self.image_size)
        return encoded

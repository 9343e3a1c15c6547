"""Spatial-frequency dual masking: an image without some bands of frequencies and some blocks is made whole again.

What upstream publishes are the two masks (`omlab_usfm.masking`) and a picture of the rest. The decoder, the losses,
their weights and all constants here are **ours**: a linear decoder, the mean absolute error over masked blocks, and
that of the logarithm of amplitudes over all frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from omlab.errors import SettingsError
from omlab_image.transforms import IMAGENET_MEAN, IMAGENET_STD
from omlab_usfm.encoder import Encoder, EncoderConfig
from omlab_usfm.masking import Bands, Blocks, band_stopped, chosen, masked_error, mean_filled, spectrum_error


@dataclass(frozen=True, kw_only=True)
class Masks:
    """What is masked, and how its two errors are weighed.

    Attributes:
        bands: Of frequencies.
        stopped: Share of the bands that are stopped.
        blocks: Of pixels, with the share that is masked.
        spatial_weight: Of the error over masked blocks.
        frequency_weight: Of the error of the spectrum.
    """

    bands: Bands
    stopped: float
    blocks: Blocks
    spatial_weight: float = 1.0
    frequency_weight: float = 1.0

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, size: int, patch: int) -> Masks:
        """What the settings of the recipe say, for images of `size`. Raises `SettingsError`."""
        try:
            return cls(
                bands=Bands(
                    size=size,
                    protected=settings["protected"],
                    first=settings["first_band"],
                    growth=settings["band_growth"],
                    most=settings["widest_band"],
                ),
                stopped=settings["stopped"],
                blocks=Blocks(size=size, block=settings["block"], patch=patch, share=settings["masked"]),
                spatial_weight=settings["spatial_weight"],
                frequency_weight=settings["frequency_weight"],
            )
        except ValueError as error:
            raise SettingsError(f"The masks cannot be: {error}") from error


class SpatialFrequency(Encoder):
    """The encoder with a linear decoder.

    Called with images (B, 3, S, S) from 0 to 1 and a generator, it gives the loss and its parts; `features` are those
    of the encoder.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.decoder = nn.Linear(config.width, config.channels * config.patch_size**2)
        self.masks: Masks | None = None
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(f"_{name}", torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]  # trained on its own loss
        """The loss, and the two errors `spatial` and `frequency`."""
        if self.masks is None:
            raise ValueError("The network has not been told what to mask.")
        masks = self.masks
        rings = chosen(len(masks.bands), share=masks.stopped, batch=len(images), generator=generator)
        mask = masks.blocks.drawn(len(images), generator)
        seen = mean_filled(band_stopped(images, masks.bands.without(rings)[:, None]), mask)
        found, target = self.painted(self._normalised(seen)).float(), self._normalised(images)
        spatial, frequency = masked_error(found, target, mask), spectrum_error(found, target)
        loss = masks.spatial_weight * spatial + masks.frequency_weight * frequency
        return loss, {"spatial": spatial.detach(), "frequency": frequency.detach()}

    def painted(self, images: Tensor) -> Tensor:
        """What the decoder makes of (B, 3, S, S): images of the same shape, normalised as those are."""
        tokens = self.fc_norm(self.forward_features(images)[:, 1:])
        side, patch = self.config.grid, self.config.patch_size
        cut = self.decoder(tokens).view(len(images), side, side, self.config.channels, patch, patch)
        whole: Tensor = cut.permute(0, 3, 1, 4, 2, 5).reshape(images.shape)
        return whole

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self.get_buffer("_mean")) / self.get_buffer("_std")

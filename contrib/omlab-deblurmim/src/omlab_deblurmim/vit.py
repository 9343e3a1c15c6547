"""The plain vision transformer as encoder and classifier: timm's, with the mean of the patch tokens as features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from omlab_image.patches import sincos_table


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """The plain encoder; left out, the published base size."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    eps: float = 1e-6
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size or self.image_size < self.patch_size:
            raise ValueError(f"An image of {self.image_size} px is no whole number of patches of {self.patch_size} px.")
        if self.width % self.heads:
            raise ValueError(f"A width of {self.width} cannot be shared by {self.heads} heads.")

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size


def pooled(tokens: Tensor, *, eps: float) -> Tensor:
    """Features (B, width) of patch tokens (B, L, width): their mean, normed without scale.

    The classifiers norm it by an `fc_norm` of their own, which no pre-trained file has; the file's `norm` is that of
    tokens.
    """
    mean = tokens.mean(dim=1)
    return functional.layer_norm(mean, mean.shape[-1:], eps=eps)


class Vit(VisionTransformer):
    """timm's, whose keys are the published ones: the mean of the patch tokens, normed, a linear layer for classes."""

    def __init__(self, config: VitConfig, *, classes: int = 0) -> None:
        super().__init__(
            img_size=config.image_size,
            patch_size=config.patch_size,
            num_classes=classes,
            global_pool="avg",
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=True,
            fc_norm=True,
            drop_path_rate=config.drop_path,
            norm_layer=partial(nn.LayerNorm, eps=config.eps),
        )
        self.config = config
        assert isinstance(self.pos_embed, nn.Parameter)
        self.pos_embed.data.copy_(sincos_table(config.width, grid=config.grid, prefix=1).float()[None])
        if classes:
            nn.init.trunc_normal_(self.get_parameter("head.weight"), std=2e-5)

    def features(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, width)."""
        found: Tensor = self.forward_head(self.forward_features(image), pre_logits=True)
        return found

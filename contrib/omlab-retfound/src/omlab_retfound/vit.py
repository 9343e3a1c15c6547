"""The vision transformers of RETFound, as timm's class: encoders and classifiers of the MAE, DINOv2 and Green forms.

Keys and shapes are the published ones. The forms differ in where the final norm stands: MAE's norms the mean of the
patches (`fc_norm`), the others norm every token (`norm`) and then take the class token or the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

Form = Literal["mae", "dinov2", "green"]
Pool = Literal["avg", "token"]
HeadNorm = Literal["single", "double"]

EPS = 1e-6
HEAD_SPREAD = 2e-5
"""Standard deviation of the weights of a new head."""
UNDECAYED = ("cls_token", "pos_embed", "reg_token")
"""Parameters without weight decay, beside those of one dimension."""


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """The hyper-parameters of a network; left out, those of RETFound's ViT-L/16.

    Attributes:
        form: What it was pre-trained as: `mae`, `dinov2` (layer scale) or `green` (layer scale, four register tokens).
        size: Side of the images in pixels.
        patch: Side of a patch in pixels.
        width: Numbers in a token.
        depth: Blocks.
        heads: Of the attention.
        mlp_ratio: Width of the MLP's hidden layer, in widths.
        pool: What stands for an image: the mean of its patches, or the class token.
        classes: Outputs of the head; 0: there is none.
        head_norm: How often the mean is normed before the head. With timm 0.9 and later upstream norms it twice, by
            mistake, and heads that were trained so (since February 2025) need it; those before were trained with one.
        drop_path: Stochastic depth of the last block while training; it rises from 0 at the first.
    """

    form: Form = "mae"
    size: int = 224
    patch: int = 16
    width: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4
    pool: Pool = "avg"
    classes: int = 0
    head_norm: HeadNorm = "single"
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ValueError(f"images of {self.size} pixels are not whole patches of {self.patch}")
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not divided by {self.heads} heads")
        if self.head_norm == "double" and not self.norms_the_mean:
            raise ValueError("only the mean of the patches of the mae form can be normed twice")

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.size // self.patch

    @property
    def norms_the_mean(self) -> bool:
        """Whether the final norm is that of the mean (`fc_norm`)."""
        return self.form == "mae" and self.pool == "avg"

    @property
    def registers(self) -> int:
        """Register tokens."""
        return 4 if self.form == "green" else 0

    @property
    def prefix(self) -> int:
        """Rows of the table of positions that are no patch's."""
        return 0 if self.form == "green" else 1


PUBLISHED: dict[Form, VitConfig] = {
    "mae": VitConfig(),
    "dinov2": VitConfig(form="dinov2", patch=14, pool="token"),
    "green": VitConfig(form="green", size=392, patch=14, width=384, depth=12, heads=6),
}
"""The published encoders."""


class RetFound(VisionTransformer):
    """An encoder, with a classifier on it where its configuration has classes.

    `forward_features` gives tokens (B, 1 + registers + L, D), `features` what stands for an image (B, D), and the
    network itself logits (B, K), or the features where it has no head.
    """

    def __init__(self, config: VitConfig) -> None:
        super().__init__(
            img_size=config.size,
            patch_size=config.patch,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            num_classes=config.classes,
            global_pool=config.pool,
            init_values=None if config.form == "mae" else 1e-5,
            reg_tokens=config.registers,
            no_embed_class=config.form == "green",
            fc_norm=config.norms_the_mean,
            drop_path_rate=config.drop_path,
            norm_layer=partial(nn.LayerNorm, eps=EPS),
        )
        self.config = config

    def embedded(self, images: Tensor) -> Tensor:
        """The tokens with their positions, (B, 3, S, S) -> (B, 1 + registers + L, D): what blocks are given."""
        tokens: Tensor = self._pos_embed(self.patch_embed(images))
        return tokens

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D): the normed mean of the patches, or the class token."""
        return self.forward_head(self.forward_features(images), pre_logits=True)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features of tokens, or logits; a second norm before the head where its weights were trained so."""
        features: Tensor = super().forward_head(x, pre_logits=True)
        if pre_logits:
            return features
        if self.config.head_norm == "double":
            features = self.fc_norm(features)
        logits: Tensor = self.head(features)
        return logits


def untrained(config: VitConfig, *, seed: int = 0) -> RetFound:
    """A network in evaluation mode with timm's initial values and a head of nearly 0, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RetFound(config)
        if isinstance(network.head, nn.Linear):
            nn.init.trunc_normal_(network.head.weight, std=HEAD_SPREAD)
    return network.eval()


def allocate(config: VitConfig) -> RetFound:
    """A network on the CPU in evaluation mode whose values are still to be filled in."""
    with torch.device("meta"):
        network = RetFound(config)
    return network.to_empty(device="cpu").eval()


def layers_of(network: nn.Module, *, depth: int) -> list[list[str]]:
    """Names of parameters from input to head: tokens, positions and patches; each block; norms, decoder and head.

    The groups of layer-wise decay as upstream makes them.
    """
    names = [name for name, _ in network.named_parameters()]
    first = ("cls_token", "pos_embed", "reg_token", "patch_embed.")
    parts: Sequence[tuple[str, ...]] = (first, *((f"blocks.{n}.",) for n in range(depth)))
    layers = [[name for name in names if name.startswith(prefixes)] for prefixes in parts]
    placed = {name for layer in layers for name in layer}
    return [*layers, [name for name in names if name not in placed]]

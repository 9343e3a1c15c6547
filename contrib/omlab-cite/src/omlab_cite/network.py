"""CITE: an image tower, a projection into the space of texts, and the cosine to the text of each class.

Source: Zhang et al., Text-Guided Foundation Model Adaptation for Pathological Image Classification, MICCAI 2023,
arXiv 2307.14901.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from omlab.errors import UsageError
from omlab_cite.vit import PromptedVit

TEMPERATURE = 4.6052
"""Of published CITE: cosines are multiplied by exp of it, 100."""
NECK_DEVIATION = 0.02


class Cite(nn.Module):
    """Images to logits of classes that texts describe.

    Args:
        backbone: Images (B, 3, S, S) to features (B, D).
        text_width: Features of a text that images are projected to; None: no projection, images and texts share a space
            already, as in CLIP.
        temperature: Logits are cosines times exp of it.
        seed: Of the projection.

    Attributes:
        text: The texts of the classes (K, text_width), kept with the weights; None: not known yet.
    """

    text: Tensor | None

    def __init__(
        self, backbone: PromptedVit, *, text_width: int | None, temperature: float = TEMPERATURE, seed: int = 0
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.text_width, self.temperature = text_width, temperature
        self.neck = nn.Identity() if text_width is None else near_identity(backbone.width, text_width, seed=seed)
        self.register_buffer("text", None)

    def fitting(self, text: Tensor) -> Tensor:
        """`text` (K, text_width) where the network is. Raises `UsageError` for another width."""
        wanted = self.text_width or self.backbone.width
        if text.ndim != 2 or text.shape[1] != wanted:
            raise UsageError(
                f"Texts of {text.shape[-1]} features cannot be compared with images of {wanted}: take the text encoder "
                "that belongs to these weights, or train a projection."
            )
        return text.detach().clone().to(self.backbone.model.proj)

    def take_texts(self, text: Tensor) -> None:
        """Make `text` (K, text_width) what classes are told by, kept with the weights. Raises `UsageError`."""
        self.register_buffer("text", self.fitting(text))

    def projected(self, features: Tensor) -> Tensor:
        """Features of images (B, D) in the space of texts, (B, text_width)."""
        result: Tensor = self.neck(features)
        return result

    def logits(self, image: Tensor, text: Tensor) -> Tensor:
        """Images (B, 3, S, S) and texts (K, text_width) to logits (B, K)."""
        return cosine_logits(self.projected(self.backbone(image)), text, temperature=self.temperature)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, S, S) to logits (B, K). Raises `UsageError` where there are no texts."""
        if self.text is None:
            raise UsageError("The network has no texts of classes to compare images with.")
        return self.logits(image, self.text)


def cosine_logits(images: Tensor, texts: Tensor, *, temperature: float) -> Tensor:
    """exp(temperature) times the cosine of each image (B, D) and each text (K, D): (B, K)."""
    images, texts = images.float(), texts.float()
    cosines = (images / images.norm(dim=-1, keepdim=True)) @ (texts / texts.norm(dim=-1, keepdim=True)).T
    logits: Tensor = math.exp(temperature) * cosines
    return logits


def near_identity(features: int, width: int, *, seed: int) -> nn.Linear:
    """The projection as published: normal of deviation 0.02, with the identity added on the leading square."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        neck = nn.Linear(features, width)
        nn.init.normal_(neck.weight, std=NECK_DEVIATION)
    with torch.no_grad():
        neck.weight += torch.eye(width, features)
    return neck


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of each image (B,)."""
    return functional.cross_entropy(logits, labels, reduction="none")

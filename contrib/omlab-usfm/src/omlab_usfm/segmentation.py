"""The two segmentation networks: USFM's encoder under SegViT's head, and under UPerNet's."""

from __future__ import annotations

from torch import Tensor, nn

from omlab_usfm.atm import AtmConfig, AtmHead, AtmOutput, resized
from omlab_usfm.encoder import EncoderConfig, PyramidEncoder
from omlab_usfm.upernet import FcnConfig, FcnHead, UperConfig, UperHead

SEGVIT_BLOCKS = (5, 7, 11)
UPERNET_BLOCKS = (3, 5, 7, 11)


class SegVit(nn.Module):
    """Images (B, 3, H, W) -> in training an `AtmOutput`, else its `semantic` maps (B, C, H, W).

    Those are sums of products of shares: what is highest is the class, but they are no logits.
    """

    def __init__(self, encoder: EncoderConfig, head: AtmConfig, *, blocks: tuple[int, ...] = SEGVIT_BLOCKS) -> None:
        super().__init__()
        self.backbone = PyramidEncoder(encoder, blocks=blocks)
        self.decode_head = AtmHead(head)

    def forward(self, image: Tensor) -> AtmOutput | Tensor:
        """As the class says."""
        output = self.outputs(image)
        return output if self.training else output.semantic

    def outputs(self, image: Tensor) -> AtmOutput:
        """The scores and masks of every stage."""
        found: AtmOutput = self.decode_head(self.backbone(image), size=image.shape[2:])
        return found


class UperNet(nn.Module):
    """Images (B, 3, H, W) -> logits (B, C, H, W); in training with those of the auxiliary head."""

    def __init__(
        self,
        encoder: EncoderConfig,
        head: UperConfig,
        auxiliary: FcnConfig,
        *,
        blocks: tuple[int, ...] = UPERNET_BLOCKS,
    ) -> None:
        super().__init__()
        self.backbone = PyramidEncoder(encoder, blocks=blocks)
        self.decode_head = UperHead(head)
        self.auxiliary_head = FcnHead(auxiliary)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """As the class says."""
        maps = self.backbone(image)
        logits = resized(self.decode_head(maps), image.shape[2:])
        return (logits, resized(self.auxiliary_head(maps), image.shape[2:])) if self.training else logits

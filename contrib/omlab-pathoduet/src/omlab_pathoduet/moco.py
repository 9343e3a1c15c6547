"""The pre-training tasks of PathoDuet on MoCo v3 (Chen et al., ICCV 2021): a network that follows itself.

    Moco         two views of a patch find each other among those of other patches
    CrossScale   and the patch is found again in the region around it (H&E)
    CrossStain   an IHC image is told as its H&E neighbour in the IHC's style is told (IHC)

Keys and shapes are those of upstream's training checkpoints. Each module is called with its views, tensors by name, and
how much of itself the momentum encoder keeps, and gives its loss and figures beside it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from omlab_pathoduet.losses import contrast, dissimilarity, placed, restyled
from omlab_pathoduet.positions import PREFIX
from omlab_pathoduet.vit import PathoVit, VitConfig

Views = Mapping[str, Tensor]
Figures = dict[str, Tensor]

_PRETEXT_TOKEN = 0


@dataclass(frozen=True, kw_only=True)
class HeadsConfig:
    """The heads of pre-training: numbers of a projection, and of hidden layers."""

    dim: int = 256
    hidden: int = 4096


def projection(layers: int, *, width: int, hidden: int, out: int) -> nn.Sequential:
    """`layers` linear layers without bias, each batch-normed; rectified in between, the last norm without scale."""
    parts: list[nn.Module] = []
    for number in range(layers):
        is_last = number == layers - 1
        parts.append(nn.Linear(width if number == 0 else hidden, out if is_last else hidden, bias=False))
        parts += [nn.BatchNorm1d(out, affine=False)] if is_last else [nn.BatchNorm1d(hidden), nn.ReLU()]
    return nn.Sequential(*parts)


class Moco(nn.Module):
    """MoCo v3: views `first` and `second`, (B, 3, S, S) each.

    Args:
        config: The encoder.
        heads: The heads on it.
        temperature: Of the contrast.
    """

    def __init__(self, config: VitConfig, *, heads: HeadsConfig, temperature: float = 0.2) -> None:
        super().__init__()
        self.config, self.heads, self.temperature = config, heads, temperature
        project = projection(3, width=config.width, hidden=heads.hidden, out=heads.dim)
        self.base_encoder = PathoVit(config, head=project)
        # no group of a recipe has its parameters, yet they are not frozen: a loop puts what is frozen into evaluation
        # mode and leaves it out of checkpoints, but its batch norms see batches, and it moves
        self.momentum_encoder = copy.deepcopy(self.base_encoder)
        self.predictor = projection(2, width=heads.dim, hidden=heads.hidden, out=heads.dim)
        if config.stem == "patch":  # Chen et al., section 4.2: a stem that learns makes training unstable
            self.base_encoder.patch_embed.requires_grad_(requires_grad=False)

    def initialise(self) -> None:
        """Draw the encoder's initial values; the momentum encoder starts as its copy. Heads keep torch's own."""
        head = copy.deepcopy(self.base_encoder.head.state_dict())
        self.base_encoder.initialise()
        self.base_encoder.head.load_state_dict(head)
        self.momentum_encoder.load_state_dict(self.base_encoder.state_dict())

    def forward(self, views: Views, *, momentum: float = 1.0) -> tuple[Tensor, Figures]:
        """The loss of a batch, a scalar, and figures to show beside it.

        While it is trained the momentum encoder is averaged with the other one first (all parameters, at `momentum`).
        """
        found = self.compared(views, momentum=momentum)
        return found["loss"], {name: value.detach() for name, value in found.items() if name in ("contrast", "bridge")}

    def compared(self, views: Views, *, momentum: float) -> Figures:
        """All that the task computes of a batch: `loss`, its terms, queries and keys."""
        first, second = views["first"], views["second"]
        return self._contrasted(first, second, self.base_encoder(first), self.base_encoder(second), momentum=momentum)

    def _contrasted(
        self, first: Tensor, second: Tensor, projected1: Tensor, projected2: Tensor, *, momentum: float
    ) -> Figures:
        q1, q2 = self.predictor(projected1), self.predictor(projected2)
        with torch.no_grad():
            self._follow(momentum)
            k1, k2 = self.momentum_encoder(first), self.momentum_encoder(second)
        one, other = self._contrast(q1, k2), self._contrast(q2, k1)
        return {"loss": one + other, "ctr1": one, "ctr2": other, "q1": q1, "q2": q2, "k1": k1, "k2": k2}

    def _contrast(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Among the keys of all processes while it is trained; one alone validates."""
        if not (self.training and distributed.is_available() and distributed.is_initialized()):
            return contrast(queries, keys, temperature=self.temperature)
        every = [torch.empty_like(keys) for _ in range(distributed.get_world_size())]
        distributed.all_gather(every, keys.contiguous())
        return contrast(queries, torch.cat(every), temperature=self.temperature, rank=distributed.get_rank())

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        """Average parameters; statistics of batch norms are those of the momentum encoder's own batches."""
        if not self.training:
            return
        for own, base in zip(self.momentum_encoder.parameters(), self.base_encoder.parameters(), strict=True):
            own.lerp_(base, 1 - momentum)


class CrossScale(Moco):
    """MoCo v3, and the patch found in its region: views `first`, `second`, `reference` and `region`.

    The region is encoded with the patch, made small (B, 3, 16, 16), as its pretext token, which says where the patch
    is; the projection of the region there is to be like those of the views, and theirs like it.

    Args:
        config: The encoder.
        heads: The heads on it.
        temperature: Of the contrast.
        bridge: Weight of region and views being alike.
    """

    def __init__(self, config: VitConfig, *, heads: HeadsConfig, temperature: float = 0.2, bridge: float = 0.5) -> None:
        super().__init__(config, heads=heads, temperature=temperature)
        self.bridge = bridge
        self.positioner = projection(2, width=config.width, hidden=heads.hidden, out=config.grid**2)

    def compared(self, views: Views, *, momentum: float) -> Figures:
        """All that the task computes of a batch: also `position_logits` and `region_projection`."""
        base, first, second = self.base_encoder, views["first"], views["second"]
        projected1, projected2 = base(first), base(second)
        tokens = base.tokens(views["region"], views["reference"])
        with torch.no_grad():  # nothing is made of it, but batch norms have seen whole regions, as the published have
            base.head(base.pooled(tokens))
        with torch.autocast(tokens.device.type, enabled=False):
            logits = self.positioner(tokens[:, _PRETEXT_TOKEN].float())
        region = base.head(placed(tokens[:, PREFIX:], logits))
        found = self._contrasted(first, second, projected1, projected2, momentum=momentum)
        told = self.predictor(region)
        pairs = [(told, projected1), (told, projected2), (found["q1"], region), (found["q2"], region)]
        alike = torch.stack([dissimilarity(query, wanted.detach()) for query, wanted in pairs])
        contrasted, bridged = found["loss"], alike.sum()
        return found | {
            "loss": contrasted + self.bridge * bridged,
            "contrast": contrasted,
            "bridge": bridged,
            "alike": alike,
            "position_logits": logits,
            "region_projection": region,
        }


class CrossStain(Moco):
    """An IHC image told as the H&E image of the same place: views `he`, `ihc` and `stain`, (B, 3, 16, 16) of the IHC.

    The teacher, `momentum_encoder`, encodes the H&E image with the stain as its pretext token and puts its tokens into
    that token's style; it never learns, and is the H&E model that training starts from.
    """

    def compared(self, views: Views, *, momentum: float) -> Figures:
        """All that the task computes of a batch: `loss`, `q` and `k`."""
        teacher = self.momentum_encoder
        q = self.predictor(self.base_encoder(views["ihc"], views["stain"]))
        with torch.no_grad():
            k = teacher.head(teacher.pooled(restyled(teacher.tokens(views["he"], views["stain"]))))
        return {"loss": self._contrast(q, k), "q": q, "k": k}

"""torchmil's networks on packed bags, with torchmil's own losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmil import models  # type: ignore[import-untyped]

from omlab_slide.mil.output import MilOutput
from omlab_slide.mil.packed import check_offsets, spans

NAMES = {
    "abmil": "ABMIL",
    "clam": "CLAM_SB",
    "dsmil": "DSMIL",
    "dtfd": "DTFDMIL",
    "transmil": "TransMIL",
    "transformer-abmil": "TransformerABMIL",
}
"""torchmil's classes by the names that cards have them under."""
_HEADS = 4


@dataclass(frozen=True, kw_only=True)
class TorchMilConfig:
    """The hyper-parameters.

    Attributes:
        model: A key of `NAMES`.
        embed_dim: Of patch features.
        att_dim: Of the attention, or of the transformer; what torchmil calls so.
        n_classes: 2; the networks have one logit.

    Raises `ValueError` for a value that cannot be.
    """

    model: str
    embed_dim: int = 1024
    att_dim: int = 128
    n_classes: int = 2

    def __post_init__(self) -> None:
        if self.model not in NAMES or min(self.embed_dim, self.att_dim) < 1:
            raise ValueError(f"{self}: the model is one of {', '.join(NAMES)}, widths are at least 1")
        if self.n_classes != 2:
            raise ValueError(f"torchmil's networks tell two classes apart, not {self.n_classes}")
        if "trans" in self.model and self.att_dim % _HEADS:
            raise ValueError(f"att_dim is {self.att_dim}, which {_HEADS} heads do not divide")

    def to_config(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class TorchMil(nn.Module):
    """One of torchmil's networks; bags go through it one after another, for several of them know no padding."""

    def __init__(self, config: TorchMilConfig) -> None:
        super().__init__()
        self.config = config
        self.network: Any = _built(config)  # torchmil has no types

    def forward(
        self, features: Tensor, offsets: Tensor, labels: Tensor | None = None, *, others: bool = False
    ) -> MilOutput:
        """The classes of packed bags, as the logits 0 and torchmil's.

        Where `labels` are given, the loss is the sum of torchmil's own (`compute_loss`), the mean over bags.
        """
        check_offsets(features, offsets)
        bags = [features[None, span] for span in spans(offsets)]
        if labels is not None:
            found = [self._learned(bag, label[None]) for bag, label in zip(bags, labels, strict=True)]
            logits, loss = torch.stack([one for one, _ in found]), torch.stack([part for _, part in found]).mean()
            return MilOutput(_two(logits), features.new_zeros(len(features), 1), loss=loss)
        answers = [self._answer(bag) for bag in bags]
        return MilOutput(_two(torch.stack([one for one, _ in answers])), torch.cat([scores for _, scores in answers]))

    def _learned(self, bag: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        with _numpy_drawn(int(torch.randint(2**31, ()))):
            logit, losses = self.network.compute_loss(label.float(), bag, **self._mask(bag))
        return logit.reshape(()), torch.stack([part.reshape(()) for part in losses.values()]).sum()

    def _answer(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """The logit () that torchmil predicts a bag by, and what it gives for its patches (N, 1)."""
        with _numpy_drawn(0):
            logit, patches = self.network.predict(bag, return_inst_pred=True, **self._mask(bag))
        return logit.reshape(()), patches.reshape(-1, 1).detach()

    def _mask(self, bag: Tensor) -> dict[str, Tensor]:
        """What is padding: nothing. torchmil 1.0.2's DTFD-MIL fails where it is not told so."""
        return {"mask": bag.new_ones(bag.shape[:2])} if self.config.model == "dtfd" else {}


@contextmanager
def _numpy_drawn(seed: int) -> Iterator[None]:
    """NumPy's global draws from a seed, afterwards as before: DTFD-MIL groups patches by them, when predicting too."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def _two(logits: Tensor) -> Tensor:
    """(B, 2): the logits 0 and x have the probabilities that the sigmoid of x has."""
    return torch.stack([torch.zeros_like(logits), logits], dim=1)


def _built(config: TorchMilConfig) -> nn.Module:
    shape, width = (config.embed_dim,), config.att_dim
    options: Mapping[str, Any] = {"att_dim": width}
    if config.model in ("abmil", "clam"):
        options = {"att_dim": width, "gated": True}
    elif config.model == "transmil":
        options = {"att_dim": width, "n_heads": _HEADS}
    elif config.model == "transformer-abmil":
        options = {"pool_att_dim": width, "transf_att_dim": width, "transf_n_heads": _HEADS, "pool_gated": True}
    network: nn.Module = getattr(models, NAMES[config.model])(in_shape=shape, **options)
    return network

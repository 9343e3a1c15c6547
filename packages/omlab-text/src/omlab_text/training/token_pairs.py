"""The pair loss of models that give a value at every token, as the community tuner of PULSE has it.

For comparison with `omlab_text.training.ranking`, which looks at an answer's last token alone.
Source: pulse-tuner (a fork of LLaMA-Factory), which has it from DeepSpeed-Chat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from omlab.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class TokenPairs:
    """What is found for B pairs.

    Attributes:
        start: (B,), the first token at which the two answers differ.
        end: (B,), past the last token that counts.
        losses: (B,), the mean of -log sigmoid(chosen - rejected) over the tokens from start to end.
        chosen: (B,), the score of the better answer: the value at its last token.
        rejected: (B,), that of the other.
    """

    start: Tensor
    end: Tensor
    losses: Tensor
    chosen: Tensor
    rejected: Tensor

    @property
    def loss(self) -> Tensor:
        """The mean over pairs."""
        return self.losses.mean()


def token_pairs(
    chosen: Tensor, rejected: Tensor, *, ids: tuple[Tensor, Tensor], lengths: tuple[Tensor, Tensor]
) -> TokenPairs:
    """The loss of pairs, padded on the right.

    The end is that of the longer answer, so that padding of the shorter one counts. Of answers that do not differ the
    last token counts alone.

    Args:
        chosen: Values (B, T) at the tokens of the better answers, prompts included.
        rejected: Values (B, T) of the others.
        ids: The tokens of both, each (B, T).
        lengths: Tokens of both without padding, each (B,).

    Raises:
        TrainingError: Shapes differ.
    """
    if not chosen.shape == rejected.shape == ids[0].shape == ids[1].shape:
        shapes = [tuple(one.shape) for one in (chosen, rejected, *ids)]
        raise TrainingError(f"Values and tokens of a pair are not of one shape (B, T): {shapes}.")
    differs = ids[0] != ids[1]
    is_pair = differs.any(dim=1)
    start = torch.where(is_pair, differs.int().argmax(dim=1), lengths[0] - 1)
    end = torch.where(is_pair, torch.maximum(*lengths), lengths[0])
    place = torch.arange(chosen.shape[1], device=chosen.device)
    counts = (place >= start[:, None]) & (place < end[:, None])
    losses = torch.where(counts, -logsigmoid(chosen - rejected), 0).sum(dim=1) / (end - start)
    return TokenPairs(
        start=start,
        end=end,
        losses=losses,
        chosen=_at_last(chosen, lengths[0]),
        rejected=_at_last(rejected, lengths[1]),
    )


def _at_last(values: Tensor, lengths: Tensor) -> Tensor:
    return values.gather(1, lengths[:, None] - 1)[:, 0]

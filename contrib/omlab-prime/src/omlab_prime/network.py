"""PRIME's networks: the language model is `omlab_protein.network.Esm`; here is its regression of temperatures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from omlab_protein.network import Esm, EsmConfig, Layout, Trunk, untrained

PUBLISHED = EsmConfig()
"""The 33-token form of the model hubs."""
EARLY = EsmConfig(vocabulary=25, tied=False)
"""The form of 2023: no mask token, no rare residues, a head with a matrix of its own."""
TINY = EsmConfig(layers=2, width=40, heads=20, feed_forward=80)


class Attention1d(nn.Module):
    """A weight for each token: a convolution of kernel 1, then a softmax over the tokens of its sequence."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Conv1d(width, 1, kernel_size=1)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """(T, width) -> (B, width): the weighted sum of each sequence's tokens, start and end among them."""
        score = self.layer(hidden.T[None])[0, 0].float()
        if layout.valid is not None:
            score = score.masked_fill(~layout.valid, float("-inf"))
        batch = len(layout.lengths)
        highest = score.new_full((batch,), float("-inf")).scatter_reduce(0, layout.owner, score.detach(), "amax")
        weight = (score - highest[layout.owner]).exp()
        total = weight.new_zeros(batch).index_add(0, layout.owner, weight)
        share = (weight / total[layout.owner])[:, None].to(hidden.dtype)
        return hidden.new_zeros(batch, hidden.shape[1]).index_add(0, layout.owner, hidden * share)


class Regression(nn.Module):
    """Attention pooling, linear, tanh, linear: one value a sequence."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention1d = Attention1d(width)
        self.linear = nn.Linear(width, width)
        self.final = nn.Linear(width, 1)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """(T, width) -> (B, 1)."""
        result: Tensor = self.final(torch.tanh(self.linear(self.attention1d(hidden, layout))))
        return result


class Temperature(nn.Module):
    """The encoder and a value for each sequence, in units of `spread` around `center` (0 and 1: as published)."""

    center: Tensor
    spread: Tensor

    def __init__(self, config: EsmConfig) -> None:
        super().__init__()
        self.config = replace(config, outputs=0, tied=False)
        self.esm = Trunk(self.config)
        self.regression = Regression(config.width)
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.center.device

    def forward(self, tokens: Tensor, layout: Layout, *, standard: Tensor | None = None) -> Tensor:
        """(T,) -> (B,), standardised: `center + spread * value` is the temperature.

        `standard`, (center, spread), is kept where it is given: what training standardised its numbers by.
        """
        if standard is not None:
            self.center.copy_(standard[0])
            self.spread.copy_(standard[1])
        value: Tensor = self.regression(self.esm(tokens, layout), layout)[:, 0]
        return value

    def numbers(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(T,) -> (B,): the number of each sequence, in its unit."""
        value: Tensor = self(tokens, layout)
        return value.float() * self.spread + self.center


class Prime(Esm):
    """The language model with the regression on its encoder: what pre-training with temperatures makes.

    Called as `Esm`, it tells residues.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, config: EsmConfig) -> None:
        super().__init__(config)
        self.regression = Regression(config.width)
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def keep(self, standard: Tensor) -> None:
        """Keep (center, spread): what training standardises its numbers by."""
        self.center.copy_(standard[0])
        self.spread.copy_(standard[1])

    def both(self, tokens: Tensor, layout: Layout, *, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (rows, outputs) of the tokens `rows`, and the standardised number (B,) of each sequence."""
        if self.lm_head is None:
            raise ValueError("this network has no head for residues")
        hidden = self.esm(tokens, layout)
        return self.lm_head(hidden[rows]), self.regression(hidden, layout)[:, 0]

    def numbers(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(T,) -> (B,): the number of each sequence, in its unit."""
        value: Tensor = self.regression(self.esm(tokens, layout), layout)[:, 0]
        return value.float() * self.spread + self.center


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a regression tells: the name of the number and its unit."""

    name: str = "temperature"
    unit: str = "°C"


def untrained_temperature(config: EsmConfig, *, seed: int = 0, esm: Esm | None = None) -> Temperature:
    """A regression with a drawn head, the same for the same seed, on the encoder of `esm` where one is given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Temperature(config)
        if esm is not None:
            network.esm.load_state_dict(esm.esm.state_dict())
    return network.eval()


def untrained_prime(config: EsmConfig, *, seed: int = 0, esm: Esm | None = None) -> Prime:
    """A language model with a drawn regression, the same for the same seed, from `esm` where one is given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Prime(config)
    state = (untrained(config, seed=seed) if esm is None else esm).state_dict()
    network.load_state_dict(state, strict=False)
    return network.eval()

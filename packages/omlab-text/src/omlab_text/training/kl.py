"""How far a policy has gone from its reference, and the weight that keeps it near.

Source: Schulman, Approximating KL Divergence, 2020 (estimates); Ziegler et al., Fine-Tuning Language Models from Human
Preferences, 2019, section 2.2 (controller).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from omlab.errors import SettingsError

Estimate = Literal["k1", "k3"]


def kl_estimate(logp: Tensor, reference: Tensor, *, estimate: Estimate = "k1") -> Tensor:
    """KL(policy || reference) at tokens that the policy drew, from the log-probabilities (...) of those alone.

    Both are right on average. `k1`, the difference, is below 0 for many tokens; `k3`, exp(-k1) - 1 + k1, never is, and
    it varies less.
    """
    if estimate not in get_args(Estimate):
        raise SettingsError(f"KL is estimated by {' or '.join(get_args(Estimate))}, not by '{estimate}'.")
    difference = logp - reference
    return difference if estimate == "k1" else (-difference).expm1() + difference


@dataclass(kw_only=True)
class AdaptiveKl:
    """The weight of the KL penalty, which rises while the policy is farther away than `target` and falls while nearer.

    Its state is `coefficient` alone.

    Attributes:
        coefficient: The weight now.
        target: KL of an answer (the sum over its tokens) that is wanted, in nats.
        horizon: Answers in which a KL 20 % beyond the target, or farther, raises the weight about 1.2-fold.
    """

    coefficient: float = 0.2
    target: float = 6.0
    horizon: float = 10_000.0

    def __post_init__(self) -> None:
        for name, value in (("target", self.target), ("horizon", self.horizon)):
            if value <= 0:
                raise SettingsError(f"{name} is {value}, but must be above 0.")

    def update(self, kl: float, *, answers: int) -> float:
        """The weight after so many answers whose mean KL was `kl`."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.coefficient *= 1 + error * answers / self.horizon
        return self.coefficient

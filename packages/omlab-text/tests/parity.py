"""How this package answers the golden file of the training line: losses, advantages, the KL controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omlab_testkit.expected import Answer, among, answer_parts, difference
from omlab_text.training.advantages import generalized_advantages, group_advantages, leave_one_out_advantages
from omlab_text.training.kl import AdaptiveKl, kl_estimate
from omlab_text.training.means import masked_mean
from omlab_text.training.ppo import Ppo, Rollout, estimates, ppo_losses
from omlab_text.training.ranking import NO_ANSWER, ranking_loss, ranking_losses, ranking_pairs
from omlab_text.training.token_pairs import token_pairs

Part = Mapping[str, Any]
Found = dict[str, Any]


def check(case: dict[str, Any]) -> dict[str, float]:
    """How far this package is from a file, by its parts."""
    readers: dict[str, tuple[Callable[[Part], Found], set[str]]] = {
        "group_loss": (_group_loss, {"scores", "ranks", "margin"}),
        "token_pair_loss": (_token_pairs, _PAIR),
        "ppo": (_ppo, _ROLLOUT),
        "group_advantage": (_group_advantages, {"scores"}),
    }
    answers: dict[str, Answer] = {
        name: partial(_answer, found=found, about=about | {"rule"}) for name, (found, about) in readers.items()
    }
    answers |= {"ranking_pairs": _ranking_pairs, "adaptive_kl": _adaptive_kl}
    return answer_parts(case, answers, about={"reference", "notes", "note"})


_PAIR = {"chosen", "rejected", "chosen_length", "rejected_length", "values_chosen", "values_rejected"}
_ROLLOUT = {
    *("beta", "score", "score_clip", "gamma", "lam", "epsilon"),
    *("logp", "logp_ref", "values", "new_logp", "new_values"),
}


def _answer(part: Part, case: Part, *, found: Callable[[Part], Found], about: set[str]) -> float:
    return among(found(part), part, about=about)


def _ranking_pairs(part: Part, case: Part) -> float:
    """Where a case gives no pairs, it asks for their number alone."""
    far = []
    for row in part["cases"]:
        pairs = ranking_pairs(torch.tensor(row["ranks"]))
        found = {"pairs": None if row.get("pairs") is None else pairs, "count": len(pairs)}
        far.append(among(found, row, about={"name", "ranks"}))
    return max(far)


def _group_loss(part: Part) -> Found:
    scores = pad_sequence([_exact(row) for row in part["scores"]], batch_first=True)
    ranks = pad_sequence([torch.tensor(row) for row in part["ranks"]], batch_first=True, padding_value=NO_ANSWER)
    return {
        "per_prompt": ranking_losses(scores, ranks),
        "loss": ranking_loss(scores, ranks).item(),
        "loss_margin": ranking_loss(scores, ranks, margin=part.get("margin", 0.0)).item(),
    }


def _token_pairs(part: Part) -> Found:
    found = token_pairs(
        _exact([part["values_chosen"]]),
        _exact([part["values_rejected"]]),
        ids=(torch.tensor([part["chosen"]]), torch.tensor([part["rejected"]])),
        lengths=(torch.tensor([part["chosen_length"]]), torch.tensor([part["rejected_length"]])),
    )
    return {
        "start": int(found.start),
        "end": int(found.end),
        "loss": found.loss.item(),
        "score_chosen": found.chosen.item(),
        "score_rejected": found.rejected.item(),
    }


def _ppo(part: Part) -> Found:
    """One answer, all of whose tokens count."""
    epsilon = part["epsilon"]
    how = Ppo(gamma=part["gamma"], lam=part["lam"], clip=epsilon, value_clip=epsilon, score_clip=part["score_clip"])
    logp, reference, values, new_logp, new_values = (
        _exact([part[name]]) for name in ("logp", "logp_ref", "values", "new_logp", "new_values")
    )
    mask = torch.ones_like(logp, dtype=torch.bool)
    rollout = Rollout(logp=logp, reference=reference, values=values, scores=_exact([part["score"]]), mask=mask)
    estimated = estimates(rollout, how, kl_weight=part["beta"])
    advantages, _ = generalized_advantages(estimated.rewards, values, mask, gamma=how.gamma, lam=how.lam)
    losses = ppo_losses(new_logp, new_values, rollout=rollout, estimated=estimated, how=how)
    return {
        "rewards": estimated.rewards[0],
        "advantages": advantages[0],
        "returns": estimated.returns[0],
        "whitened": estimated.advantages[0],
        "ratio": (new_logp - logp).exp()[0],
        "policy_loss": losses.policy.item(),
        "clip_fraction": losses.clipped,
        "value_loss": losses.value.item(),
        "k1": masked_mean(kl_estimate(logp, reference), mask).item(),
        "k3": masked_mean(kl_estimate(logp, reference, estimate="k3"), mask).item(),
    }


def _adaptive_kl(part: Part, case: Part) -> float:
    """Each coefficient on its own scale: they lie close together."""
    control = AdaptiveKl(coefficient=part["initial"], target=part["target"], horizon=part["horizon"])
    return max(difference(control.update(kl, answers=part["batch"]), wanted) for kl, wanted in part["trace"])


def _group_advantages(part: Part) -> Found:
    scores = _exact(part["scores"])
    return {"grpo": group_advantages(scores), "rloo": leave_one_out_advantages(scores)}


def _exact(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)

"""The recipes `ppo`, `grpo` and `rloo`: a policy writes answers, a reward model scores them, and the policy learns.

It becomes likelier to write good answers without going far from where it began; `omlab_text.training.ppo` has the
mathematics. trl has no PPO any more. Its GRPO and RLOO write prompts by the tokenizer's template instead of the model's
chat format, and cannot go on exactly where they were stopped; here all three are one loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from omlab import progress
from omlab.digests import digest_of
from omlab.errors import SettingsError, TrainingError, UsageError
from omlab.roles import Dataset
from omlab.shards import processes
from omlab_kernels import linear_log_probs_and_entropy
from omlab_text.chat import Chat
from omlab_text.recipes.language import check_precision
from omlab_text.recipes.pretraining import pretraining_of
from omlab_text.recipes.rates import advised_rate
from omlab_text.recipes.reference import Reference
from omlab_text.recipes.rollouts import Answers, Writer, open_reward
from omlab_text.red_flags import RedFlags
from omlab_text.sampling import Sampling
from omlab_text.training.advantages import RunningScores
from omlab_text.training.kl import AdaptiveKl
from omlab_text.training.means import masked_mean
from omlab_text.training.ppo import Estimates, Ppo, PpoLosses, Rollout, estimates, group_estimates, ppo_losses
from omlab_text.training.supervised import IGNORED, hidden_states, output_matrix
from omlab_train.checkpoint import Checkpoint, read_checkpoint, say_going_on, write_checkpoint
from omlab_train.order import Order
from omlab_train.settings import mixed_seed

if TYPE_CHECKING:
    from omlab_text.local_model import LocalModel

Method = Literal["ppo", "grpo", "rloo"]
_OFF = ("clip_higher", "stop_kl", "score_clip")
"""Attributes of `Ppo` that 0 turns off in settings."""
_ALL, _FEW = 1e-6, 1e-5
"""Learning rates where all weights learn, and where few do."""


class PolicyLoop:
    """Rollouts and inner epochs (`omlab_train.Loop`).

    Args:
        model: The policy, which is trained in place.
        data: Prompts.
        settings: Of the recipe, complete.
        seed: Of the order and the draws.
        method: What an answer's worth is told by: a critic, or the other answers to its prompt.

    Raises:
        UsageError: Several processes were started: each would train a policy of its own.
        SettingsError: A setting cannot be, or `reward` is no reward model.
        InputError: The file of red flags is none, or that of the pre-training has a line that cannot be read.
        TrainingError: The weights have too few bits.
    """

    def __init__(
        self, model: LocalModel, data: Dataset, *, settings: Mapping[str, Any], seed: int, method: Method
    ) -> None:
        if processes() > 1:
            raise UsageError(
                f"{method} trains in one process, but {processes()} were started: start it without torchrun or "
                "accelerate launch."
            )
        check_precision(model.module)
        self.backend, self.settings, self.method = model.backend, settings, method
        self.cases = data.cases("train")
        self.how = ppo_of(settings, method=method)
        if method != "ppo" and settings["answers"] < 2:
            raise SettingsError(
                f"answers is {settings['answers']}, but {method} compares answers to a prompt: 2 or more."
            )
        self.reward = open_reward(settings["reward"], device=str(self.backend.network.device))
        self.control = AdaptiveKl(
            coefficient=settings["kl_weight"], target=settings["kl_target"], horizon=settings["kl_horizon"]
        )
        self.running = RunningScores() if settings["normalise_scores"] else None
        self.flags = RedFlags.read(Path(settings["red_flags"])) if settings["red_flags"] else None
        self.texts = pretraining_of(model, settings, seed=seed)
        self.prompts = min(settings["prompts"], len(self.cases))
        self.order = Order(count=len(self.cases), seed=seed)
        learnt_from = [data.digest("train"), self.texts and self.texts.digest]
        self.fingerprint = digest_of([dict(settings), method, learnt_from, self.reward.identity, seed])

    def run(self, *, device: str, folder: Path, seed: int) -> list[dict[str, float]]:
        """Train the policy; goes on from the checkpoint of an interrupted run, and gives the same as without it.

        Raises:
            TrainingError: The policy ran away from its reference, misses red flags, or something is not finite.
        """
        self.actor = _Actor(self.backend.network.to(device))
        self.reference = Reference(self.backend.network, decay=self.settings["reference_decay"])
        learning = [parameter for parameter in self.actor.parameters() if parameter.requires_grad]
        rate = self.settings["learning_rate"] or advised_rate(self.backend.network, all=_ALL, few=_FEW)
        self.optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=0.0)
        sampling = Sampling(max_tokens=self.settings["max_tokens"], temperature=1.0)  # probabilities as they are
        writer = Writer(self.backend, self.reward, sampling=sampling)
        allowed = self._missed() + self.settings["red_flag_tolerance"]
        history = self._resumed(folder)
        say_going_on(len(history), of=self.settings["rollouts"], unit="rollout")
        folder.mkdir(parents=True, exist_ok=True)
        with progress.bar("training", total=self.settings["rollouts"]) as advance:
            advance(len(history))
            for number in range(len(history), self.settings["rollouts"]):
                history.append({"epoch": number + 1, **self._rollout(writer, number, seed=seed, device=device)})
                if len(history) % self.settings["red_flag_rollouts"] == 0 or number + 1 == self.settings["rollouts"]:
                    self._check_flags(number, allowed=allowed)
                self._save(history, folder)
                shown = ("reward", "kl", "length")
                advance(1, **{name: history[-1][name] for name in shown})
        return history

    def _rollout(self, writer: Writer, number: int, *, seed: int, device: str) -> dict[str, float]:
        """Write, estimate and learn; what is to be said of it."""
        places = range(number * self.prompts, (number + 1) * self.prompts)
        chats = [_chat(self.cases[self.order(place)[0]]) for place in places]
        drawn = [mixed_seed(seed, number, copy) for copy in range(self.settings["answers"])]
        self.backend.network.eval()  # no dropout: probabilities are compared
        answers = writer(chats, seeds=drawn)
        rollout, entropy = self._found(answers, device)
        kl = (rollout.logp - rollout.reference).sum(dim=1).mean().item()
        self._check(kl, number)
        estimated = self._estimates(rollout)
        row = {
            "reward": answers.scores.mean().item(),
            "kl": kl,
            "kl_weight": self.control.coefficient,
            "entropy": entropy,
            "length": rollout.mask.sum(dim=1).float().mean().item(),
        }
        self.control.update(kl, answers=len(answers.ids))
        row |= self._learn(answers, rollout, estimated, number, seed=seed)
        self.reference.follow()
        return row

    def _estimates(self, rollout: Rollout) -> Estimates:
        weight = self.control.coefficient
        if self.method == "ppo":
            return estimates(rollout, self.how, kl_weight=weight, running=self.running)
        count = self.settings["answers"]
        return group_estimates(rollout, self.how, by=self.method, answers=count, kl_weight=weight, running=self.running)

    @torch.no_grad()
    def _found(self, answers: Answers, device: str) -> tuple[Rollout, float]:
        """What policy, reference and critic say of the answers now, and the mean entropy of a token."""
        parts: list[tuple[Tensor, ...]] = []
        for places in torch.split(torch.arange(len(answers.ids)), self.settings["minibatch"]):
            piece = _piece(answers, places, device)
            logp, entropy, values = self.actor(piece)
            with self.reference.in_place() as network:
                reference = self.actor.log_probs(network, piece)[0]
            parts.append((logp, entropy, values, reference))
        logp, entropy, values, reference = (torch.cat(each) for each in zip(*parts, strict=True))
        mask = (answers.targets != IGNORED).to(device)
        scores = answers.scores.to(device)
        rollout = Rollout(logp=logp, reference=reference, values=values, scores=scores, mask=mask)
        return rollout, masked_mean(entropy, mask).item()

    def _learn(
        self, answers: Answers, rollout: Rollout, estimated: Estimates, number: int, *, seed: int
    ) -> dict[str, float]:
        """The inner epochs; the mean of what each step was like."""
        rows: list[PpoLosses] = []
        weight = self.how.entropy_weight_at(number)
        for epoch in range(self.settings["inner_epochs"]):
            generator = torch.Generator().manual_seed(mixed_seed(seed, number, epoch))
            order = torch.randperm(len(answers.ids), generator=generator)
            pieces = torch.split(order, self.settings["minibatch"])
            first = (number * self.settings["inner_epochs"] + epoch) * len(pieces)
            for step, places in enumerate(pieces, start=first):
                logp, entropy, values = self.actor(_piece(answers, places, rollout.logp.device))
                losses = ppo_losses(
                    logp,
                    values,
                    rollout=_part(rollout, places),
                    estimated=_part(estimated, places),
                    how=self.how,
                    entropy=entropy,
                    entropy_weight=weight,
                    pretraining=self.texts.loss(step) if self.texts is not None else None,
                )
                rows.append(losses)
                if self.how.is_far(losses):
                    return _means(rows)
                self._step(losses.total, number)
        return _means(rows)

    def _step(self, loss: Tensor, number: int) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if not torch.isfinite(norm):
            raise TrainingError(f"The gradient is {norm.item()} at rollout {number + 1}: lower the learning rate.")
        self.optimizer.step()

    def _check(self, kl: float, number: int) -> None:
        limit = self.settings["kl_limit"]
        if not kl <= limit:
            raise TrainingError(
                f"The policy is {kl:.1f} nats from its reference at rollout {number + 1}, beyond kl_limit={limit:g}: "
                "lower learning_rate or kl_horizon, or raise kl_weight."
            )

    def _missed(self) -> int:
        return len(self.flags.faults(self.backend)) if self.flags is not None else 0

    def _check_flags(self, number: int, *, allowed: int) -> None:
        faults = self.flags.faults(self.backend) if self.flags is not None else []
        if len(faults) > allowed:
            raise TrainingError(
                f"After rollout {number + 1} {len(faults)} red flags are missed, where {allowed} may be: {faults[-1]}"
            )

    def _resumed(self, folder: Path) -> list[dict[str, float]]:
        """Take what an interrupted run left; its history."""
        done = read_checkpoint(folder, settings=self.fingerprint)
        if done is None:
            return []
        state = dict(done.module)
        numbers = state.pop("numbers").tolist()
        self.control.coefficient = numbers[0]
        if self.running is not None:
            self.running = RunningScores(count=int(numbers[1]), mean=numbers[2], squares=numbers[3])
        self.actor.load_state_dict(state, strict=False)
        if self.reference.kept is not None:
            self.reference.kept.load_state_dict(dict(done.average))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": done.optimizer})
        return list(done.history)

    def _save(self, history: list[dict[str, float]], folder: Path) -> None:
        running = self.running or RunningScores()
        numbers = [self.control.coefficient, running.count, running.mean, running.squares]
        frozen = {name for name, parameter in self.actor.named_parameters() if not parameter.requires_grad}
        state = {name: value for name, value in self.actor.state_dict().items() if name not in frozen}
        kept = self.reference.kept
        checkpoint = Checkpoint(
            settings=self.fingerprint,
            epochs_done=len(history),
            module={**state, "numbers": torch.tensor(numbers, dtype=torch.float64)},
            optimizer=self.optimizer.state_dict()["state"],
            average={} if kept is None else kept.state_dict(),
            history=history,
        )
        write_checkpoint(checkpoint, folder)


ppo = partial(PolicyLoop, method="ppo")
grpo = partial(PolicyLoop, method="grpo")
rloo = partial(PolicyLoop, method="rloo")


def ppo_of(settings: Mapping[str, Any], *, method: Method) -> Ppo:
    """How a policy learns, of settings in which 0 turns some things off. Raises `SettingsError`."""
    given: dict[str, Any] = {field.name: settings[field.name] for field in fields(Ppo) if field.name in settings}
    given |= {name: None for name in _OFF if given[name] == 0}
    how = Ppo(**given)
    if method == "ppo":
        return how
    return replace(how, value_weight=0.0, penalty="loss" if method == "grpo" else "reward")


class _Actor(nn.Module):
    """A policy and the head of its critic, which reads the same hidden states."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.critic = nn.Linear(network.config.get_text_config().hidden_size, 1, device=network.device)
        nn.init.zeros_(self.critic.weight)
        nn.init.zeros_(self.critic.bias)

    def forward(self, answers: Answers) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability, entropy and value (B, T) at each token."""
        logp, entropy, hidden = self.log_probs(self.network, answers)
        values: Tensor = self.critic(hidden.to(self.critic.weight.dtype))[..., 0]
        return logp, entropy, values

    def log_probs(self, network: Any, answers: Answers) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability and entropy (B, T) as a network gives them, and its hidden states (B, T, H)."""
        hidden = hidden_states(network, answers.ids, answers.mask)
        logp, entropy = linear_log_probs_and_entropy(hidden, output_matrix(network), answers.targets)
        return logp, entropy, hidden


def _chat(case: Any) -> Chat:
    chat = case.load().inputs["chat"]
    assert isinstance(chat, Chat)
    return chat


def _piece(answers: Answers, places: Tensor, device: Any) -> Answers:
    return Answers(**{name: part[places].to(device) for name, part in vars(answers).items()})


def _part(whole: Any, places: Tensor) -> Any:
    """Some rows of a rollout, or of what was estimated of it."""
    rows = {name: part for name, part in vars(whole).items() if isinstance(part, Tensor)}
    return replace(whole, **{name: part[places.to(part.device)] for name, part in rows.items()})


def _means(rows: Sequence[PpoLosses]) -> dict[str, float]:
    count = len(rows)
    of_texts = [row.pretraining.item() for row in rows if row.pretraining is not None]
    return {
        "loss": sum(row.policy.item() for row in rows) / count,
        "value_loss": sum(row.value.item() for row in rows) / count,
        "clipped": sum(row.clipped for row in rows) / count,
        "moved": sum(row.moved for row in rows) / count,
        **({"pretraining_loss": sum(of_texts) / count} if of_texts else {}),
    }

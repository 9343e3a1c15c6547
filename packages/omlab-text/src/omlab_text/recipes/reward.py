"""The recipe `reward`: a network of transformers learns to score answers as experts ranked them.

A head on the last hidden state of the last token gives the score of an answer. Source: Ouyang et al., Training language
models to follow instructions with human feedback, 2022, section 3.5; "a prompt for self-evaluation is added to
reward-model training": OpenMEDLab's page on PULSE, which does not say how; ours is `Reader`, or `revisions_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import omlab
from omlab.digests import digest_of
from omlab.errors import TrainingError
from omlab.payloads import Inputs
from omlab.roles import Case, Dataset
from omlab_kernels import linear_cross_entropy
from omlab_text.chat import Chat, Turn
from omlab_text.chat_format import ChatFormat, Encoded
from omlab_text.ranked import Ranking
from omlab_text.recipes.language import check_precision
from omlab_text.recipes.rates import advised_rate
from omlab_text.recipes.revisions import Revisions, revisions_of
from omlab_text.reward_head import HEAD
from omlab_text.training.ranking import NO_ANSWER, ranking_loss
from omlab_text.training.ranking_figures import Ranked, ranking_figures
from omlab_text.training.supervised import IGNORED, hidden_states, output_matrix, targets_of
from omlab_train import Optimisation, schedules
from omlab_train.order import Order

if TYPE_CHECKING:
    from omlab_text.reward_model import RewardModel

NO_FAULT = "No fault found."
_ALL, _FEW = 1e-5, 1e-4
"""Learning rates where all weights learn, and where few do; the head, which begins anew, learns at ten times that."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How an answer is laid before the network.

    Attributes:
        format: The chat format.
        question: What the network is asked about the answer after it; "": nothing.
        criticises: Whether it answers that before it scores: it learns to write the experts' reasons, after which it
            scores while it learns, and reads what it wrote itself when it is used.
        room: Tokens that the network has room for; of what is longer the beginning goes. None: any number.
    """

    format: ChatFormat
    question: str = ""
    criticises: bool = False
    room: int | None = None

    def asked(self, chat: Chat, answer: str) -> Chat:
        """The chat with the answer, and what is asked about it."""
        with_answer = chat.then(Turn(role="assistant", text=answer))
        return with_answer.then(Turn(role="user", text=self.question)) if self.question else with_answer

    def read(self, chat: Chat, answer: str, *, critique: str = "") -> Encoded:
        """Tokens of which the last one is scored; of `answers` the last span is the critique, if there is one."""
        asked = self.asked(chat, answer)
        if not self.criticises:
            found = self.format.encode(asked, prompt=bool(self.question))
            return Encoded(ids=self._fit(found.ids))
        found = self.format.encode(asked.then(Turn(role="assistant", text=critique or NO_FAULT)), prompt=False)
        begin, end = found.answers[-1]
        kept = self._fit(found.ids[:end])
        return Encoded(ids=kept, answers=((max(1, begin - (end - len(kept))), len(kept)),))

    def _fit(self, ids: list[int]) -> list[int]:
        return ids[-self.room :] if self.room else ids


class Rewarder(nn.Module):
    """A network with a head as a function of tokens.

    Args:
        network: Of transformers, with the head of `add_head`.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, mask: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, T) of tokens, padded behind -> scores (N,) at the last token of each, and the loss of the targets."""
        hidden = hidden_states(self.network, ids, mask)
        last = mask.sum(dim=1) - 1
        head: nn.Linear = getattr(self.network, HEAD)
        scores = head(hidden[torch.arange(len(ids), device=ids.device), last].to(head.weight.dtype))[:, 0].float()
        if targets is None:
            return scores, scores.new_zeros(())
        return scores, linear_cross_entropy(hidden, output_matrix(self.network), targets)


@dataclass(frozen=True, kw_only=True)
class RankingBatches:
    """Batches of prompts, each with all of its answers: a function of seed and step.

    A batch has `ids` and `mask` (N, T) of all answers, `places` (B, K) of each prompt's among them, `ranks`
    (B, K), `margins` (B,), `revised` (P, 2), the place of each revision and of the answer that it was made of, and
    where the network criticises `targets` (N, T).
    """

    cases: Sequence[Case]
    reader: Reader
    order: Order
    size: int
    margin: float
    revisions: Revisions = field(default_factory=dict)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The batch of that number."""
        places = range(step * self.size, (step + 1) * self.size)
        return self.of([self.cases[self.order(place)[0]] for place in places])

    def of(self, cases: Sequence[Case]) -> dict[str, Tensor]:
        """A batch of these cases."""
        samples = [case.load() for case in cases]
        rankings = [ranking_of(sample.target) for sample in samples]
        read = [
            self._read(sample.inputs, ranking, place)
            for sample, ranking in zip(samples, rankings, strict=True)
            for place in range(len(ranking.texts))
        ]
        counts = [len(ranking.texts) for ranking in rankings]
        places = [range(sum(counts[:n]), sum(counts[: n + 1])) for n in range(len(counts))]
        revised = []
        for sample, own in zip(samples, places, strict=True):
            for place, text in self.revisions.get(sample.id, {}).items():
                revised.append([len(read), own[place]])
                read.append(self.reader.read(omlab.take(sample.inputs, "chat", Chat), text))
        ids = [torch.tensor(one.ids) for one in read]
        batch = {
            "ids": pad_sequence(ids, batch_first=True),
            "mask": pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in ids], batch_first=True),
            "places": _padded(places),
            "ranks": _padded([ranking.ranks for ranking in rankings], filled=NO_ANSWER),
            "margins": torch.tensor([self.margin if one.margin is None else one.margin for one in rankings]),
            "revised": torch.tensor(revised, dtype=torch.long).reshape(-1, 2),
        }
        if self.reader.criticises:
            targets = [torch.tensor(targets_of(one)) for one in read]
            batch["targets"] = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
        return batch

    def _read(self, inputs: Inputs, ranking: Ranking, place: int) -> Encoded:
        tags = ranking.tags[place] if ranking.tags else ()
        critique = f"{', '.join(tags)}." if tags else ""
        return self.reader.read(omlab.take(inputs, "chat", Chat), ranking.texts[place], critique=critique)


class RewardRecipe:
    """Ranking loss over the answers of each prompt (`omlab_train.Recipe`).

    Args:
        model: With a head; trained in place.
        data: Preferences.
        settings: Of the recipe, complete.
        seed: Of the order.

    Raises:
        TrainingError: No prompt has two answers of different rank.
    """

    module: nn.Module
    how = Optimisation(max_grad_norm=1.0, find_unused_parameters=True)  # the output matrix may be for nothing

    def __init__(self, model: RewardModel, data: Dataset, *, settings: Mapping[str, Any], seed: int) -> None:
        check_precision(model.module)
        cases = [case for case in data.cases("train") if not ranking_of(case.load().target).is_tied]
        if not cases:
            raise TrainingError("No prompt has two answers of different rank: there is nothing to learn from ties.")
        self.model, self.module = model, Rewarder(model.module)
        self.settings, self.size = settings, min(settings["batch_size"], len(cases))
        reader = model.reader
        revises = settings["self_evaluation"] == "revision"
        revisions = revisions_of(model, cases, request=settings["revise"]) if revises else {}
        self.batches = RankingBatches(
            cases=cases,
            reader=reader,
            order=Order(count=len(cases), seed=seed),
            size=self.size,
            margin=settings["margin"],
            revisions=revisions,
        )
        self.epoch = -(-len(cases) // self.size)
        self.steps = settings["epochs"] * self.epoch
        self.held_out = data.cases("val") if "val" in data.splits() else []
        reading = [reader.question, reader.criticises]
        self.fingerprint = digest_of([dict(settings), data.digest("train"), seed, *reading, revisions])

    def groups(self) -> list[dict[str, Any]]:
        """The network, and its head at a higher rate."""
        rate = self.settings["learning_rate"] or advised_rate(self.module, all=_ALL, few=_FEW)
        decay = self.settings["weight_decay"]
        named = list(self.module.named_parameters())
        head = [parameter for name, parameter in named if f"{HEAD}." in name]
        rest = [parameter for name, parameter in named if f"{HEAD}." not in name]
        return [
            {"params": rest, "lr": rate, "weight_decay": decay},
            {"params": head, "lr": 10 * rate, "weight_decay": 0.0},
        ]

    def schedule(self, step: int) -> float:
        """A short rise, then a cosine to a tenth."""
        return schedules.cosine(step, steps=self.steps, warmup=round(self.settings["warmup"] * self.steps), final=0.1)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """The mean over the prompts, each the mean over its pairs; and that over the revisions with their answers.

        A revision is held to be better than its answer, by no margin.
        """
        flat, of_critique = self.module(batch["ids"], batch["mask"], batch.get("targets"))
        scores, ranks = flat[batch["places"]], batch["ranks"]
        loss = ranking_loss(scores, ranks, margin=batch["margins"], centring=self.settings["centring"])
        revised = flat[batch["revised"]]
        of_revisions = ranking_loss(revised, torch.tensor([[1, 2]], device=flat.device).expand_as(revised))
        figures = ranking_figures(_ranked(batch, scores.detach()))
        return loss + of_critique + of_revisions, {"accuracy": figures["accuracy"]}

    def validate(self) -> Mapping[str, float] | None:
        """The loss and the figures of what is held out, read as the model reads when it is used."""
        if not self.held_out:
            return None
        rows, losses = [], []
        for case in self.held_out:
            sample = case.load()
            chat, ranking = omlab.take(sample.inputs, "chat", Chat), ranking_of(sample.target)
            scores = self.model.rewards([(chat, text) for text in ranking.texts])
            margin = self.settings["margin"] if ranking.margin is None else ranking.margin
            losses.append(ranking_loss(torch.tensor([scores]), torch.tensor([ranking.ranks]), margin=margin).item())
            lengths = [len(text) for text in ranking.texts]
            rows.append(Ranked(scores=scores, ranks=ranking.ranks, lengths=lengths, area=sample.meta.get("area", "")))
        return {"loss": sum(losses) / len(losses), **ranking_figures(rows)}


def ranking_of(target: Any) -> Ranking:
    """The ranking that a sample of preferences has. Raises `TrainingError` for another target."""
    if not isinstance(target, Ranking):
        raise TrainingError("A case has no ranking to learn from.")
    return target


def _ranked(batch: Mapping[str, Tensor], scores: Tensor) -> list[Ranked]:
    rows = zip(scores.tolist(), batch["ranks"].tolist(), strict=True)
    found = []
    for said, ranks in rows:
        count = sum(rank != NO_ANSWER for rank in ranks)
        found.append(Ranked(scores=said[:count], ranks=ranks[:count], lengths=[0] * count))
    return found


def _padded(rows: Sequence[Sequence[int]], *, filled: int = 0) -> Tensor:
    return pad_sequence([torch.tensor(list(row)) for row in rows], batch_first=True, padding_value=filled)

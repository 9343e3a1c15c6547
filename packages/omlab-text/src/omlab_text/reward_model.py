"""A language model that scores answers as experts would: what the recipe `reward` makes of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

import omlab
from omlab.errors import InputError
from omlab.payloads import Inputs
from omlab_payloads.scores import Scores
from omlab_text.chat import Chat
from omlab_text.chat_format import Encoded
from omlab_text.chat_model import Answer, Asked
from omlab_text.local import LocalBackend
from omlab_text.local_model import LocalModel
from omlab_text.options import LETTERS, Options
from omlab_text.recipes.reward import Reader, Rewarder
from omlab_text.reward_head import HEAD, add_head
from omlab_text.sampling import Sampling

REWARD = "reward"
"""What the score of the one answer of a chat is called; options go by their letters."""
_CRITIQUE = Sampling(max_tokens=64)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The answers of one case by name, as they are read, or the chats in which they are criticised first."""

    names: tuple[str, ...]
    chat: Chat
    answers: tuple[str, ...]


class RewardModel(LocalModel):
    """The verb `score` gives rewards: of a chat's last answer, or of each option as the next one.

    Args:
        backend: With a network that has a reward head.
        reading: How answers are read: `question` and `criticises` of `Reader`.
        more: As of `LocalModel`.
    """

    def __init__(self, backend: LocalBackend, *, reading: Mapping[str, Any], **more: Any) -> None:
        super().__init__(backend, **more)
        self.reading = dict(reading)

    @property
    def reader(self) -> Reader:
        """How answers are laid before the network."""
        return Reader(format=self.backend.format, room=self.backend.context, **self.reading)

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Asked[Any] | Judged:  # type: ignore[override]
        """Check what is to be answered, or scored. Raises `InputError` where there is no answer to score."""
        if verb != "score":
            return super().prepare(verb, inputs, **options)  # type: ignore[return-value]
        chat = omlab.take(inputs, "chat", Chat)
        if "options" in inputs:
            chat.check_open()
            texts = omlab.take(inputs, "options", Options).texts
            return Judged(names=tuple(LETTERS[: len(texts)]), chat=chat, answers=texts)
        last = chat.turns[-1]
        if last.role != "assistant" or len(chat.turns) < 2:
            raise InputError("The chat does not end with an answer of the assistant: there is nothing to score.")
        before = Chat(turns=chat.turns[:-1], tools=chat.tools)
        return Judged(names=(REWARD,), chat=before, answers=(last.text,))

    def score(self, batch: Sequence[Judged], /) -> Iterator[Scores]:  # type: ignore[override]
        """The reward of each answer of each case."""
        found = iter(self.rewards([(case.chat, answer) for case in batch for answer in case.answers]))
        for case in batch:
            yield Scores(values={name: next(found) for name in case.names})

    def config(self) -> dict[str, Any]:
        """As of `LocalModel`, and how answers are read."""
        return super().config() | {REWARD: self.reading}

    def rewards(self, answers: Sequence[tuple[Chat, str]]) -> list[float]:
        """The reward of each answer to its chat; those of like length are computed together."""
        reader = self.reader
        critiques = self._critiques(answers) if reader.criticises else [""] * len(answers)
        read = [reader.read(*one, critique=critique) for one, critique in zip(answers, critiques, strict=True)]
        order = sorted(range(len(read)), key=lambda place: len(read[place].ids))
        found = dict[int, float]()
        for first in range(0, len(order), self.backend.rows):
            places = order[first : first + self.backend.rows]
            found |= zip(places, rewards_of([read[place] for place in places], self.module), strict=True)
        return [found[place] for place in range(len(read))]

    def _critiques(self, answers: Sequence[tuple[Chat, str]]) -> list[str]:
        """What the network itself says of each answer; nothing where that has no end."""
        asked = [self.backend.prepare(self.reader.asked(*one), _CRITIQUE) for one in answers]
        written = self.backend.answer(asked, _CRITIQUE)
        return [one.turn.text if isinstance(one, Answer) else "" for one in written]


def rewarding(model: LocalModel, *, settings: Mapping[str, Any], seed: int) -> RewardModel:
    """A model, whose network is given a head where it has none, as one that scores (settings of the recipe)."""
    if not hasattr(model.module, HEAD):
        add_head(model.module, seed=seed)
    way = settings["self_evaluation"]
    asks = way in ("question", "critique")
    reading = {"question": settings["question"] if asks else "", "criticises": way == "critique"}
    return RewardModel(model.backend, reading=reading, network=model.stored, presets=model.presets)


def adapted_model(backend: LocalBackend, config: Mapping[str, Any], **more: Any) -> LocalModel:
    """The model that `LocalModel.config` or `RewardModel.config` tells of, with its backend."""
    if REWARD in config:
        return RewardModel(backend, reading=config[REWARD], **more)
    return LocalModel(backend, **more)


def rewards_of(read: Sequence[Encoded], network: Any) -> list[float]:
    """The rewards of answers that were read, as one batch."""
    rows = [torch.tensor(one.ids, device=network.device) for one in read]
    ids = pad_sequence(rows, batch_first=True)
    mask = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True)
    with torch.inference_mode():
        scores, _ = Rewarder(network)(ids, mask)
    return [float(score) for score in scores]

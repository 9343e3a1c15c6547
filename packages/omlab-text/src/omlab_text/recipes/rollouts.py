"""What a policy writes to prompts, and what a reward model says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import omlab
from omlab.errors import OmlabError, SettingsError, TrainingError
from omlab.session import Session
from omlab_payloads.scores import Scores
from omlab_text.chat import Chat
from omlab_text.chat_format import Encoded
from omlab_text.chat_model import Answer
from omlab_text.local import LocalBackend, Written
from omlab_text.sampling import Sampling
from omlab_text.training.supervised import IGNORED


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers with their prompts, padded behind.

    Attributes:
        ids: (B, T), tokens of prompts and answers.
        mask: (B, T), which of them are no padding.
        targets: (B, T), the token after each where the policy wrote it, else `IGNORED`.
        scores: (B,), what the reward model says.
    """

    ids: Tensor
    mask: Tensor
    targets: Tensor
    scores: Tensor


class Writer:
    """Writes answers with a policy, and has them scored.

    Args:
        backend: Of the policy.
        reward: The session of a reward model.
        sampling: How answers are drawn, but for the seed.
    """

    def __init__(self, backend: LocalBackend, reward: Session, *, sampling: Sampling) -> None:
        self.backend, self.reward, self.sampling = backend, reward, sampling

    def __call__(self, chats: Sequence[Chat], *, seeds: Sequence[int]) -> Answers:
        """An answer to each chat for each seed: those of one chat lie together.

        Raises:
            TrainingError: The reward model failed.
        """
        prompts = [self.backend.prepare(chat, self.sampling) for chat in chats]
        by_seed = [self.backend.write(prompts, self._drawn(seed)) for seed in seeds]
        places = [place for place in range(len(chats)) for _ in seeds]
        written = [row[place] for place in range(len(chats)) for row in by_seed]
        said = [self._said(chats[place], prompts[place], one) for place, one in zip(places, written, strict=True)]
        rows = [_row(prompts[place], one) for place, one in zip(places, written, strict=True)]
        return Answers(
            ids=pad_sequence([ids for ids, _ in rows], batch_first=True),
            mask=pad_sequence([torch.ones_like(ids, dtype=torch.bool) for ids, _ in rows], batch_first=True),
            targets=pad_sequence([targets for _, targets in rows], batch_first=True, padding_value=IGNORED),
            scores=self._scores(said),
        )

    def _drawn(self, seed: int) -> Sampling:
        return Sampling(**{**vars(self.sampling), "seed": seed})

    def _said(self, chat: Chat, prompt: Encoded, written: Written) -> Chat:
        answer = self.backend.worded(prompt, written, self.sampling)
        assert isinstance(answer, Answer)  # no form is asked for
        return chat.then(answer.turn)

    def _scores(self, said: Sequence[Chat]) -> Tensor:
        found = list[float]()
        size = self.reward.card.does["score"].batch or 1
        for first in range(0, len(said), size):
            for score in self.reward.apply("score", [{"chat": chat} for chat in said[first : first + size]]):
                if isinstance(score, OmlabError):
                    raise TrainingError(f"The reward model cannot score an answer: {score}") from score
                assert isinstance(score, Scores)
                found += score.values.values()
        return torch.tensor(found)


def open_reward(folder: str, *, device: str) -> Session:
    """The reward model in a folder. Raises `SettingsError` where none is named, or it is something else."""
    if not folder:
        raise SettingsError(
            "reward is not set: name the folder of a reward model (recipe 'reward') with -s reward=RM/."
        )
    if not Path(folder).is_dir():
        raise SettingsError(f"reward is '{folder}', which is no folder: name that of a model the recipe 'reward' made.")
    try:
        session = omlab.load_model(folder, device=device)
    except OmlabError as error:
        raise SettingsError(f"reward is '{folder}', which cannot be loaded: {error}") from error
    facts = session.card.does.get("score")
    if facts is None or facts.gives != Scores.kind or list(facts.required) != ["chat"]:
        raise SettingsError(
            f"reward is '{folder}', which is no reward model: it gives no scores of answers. Train one with --recipe "
            "reward."
        )
    return session


def _row(prompt: Encoded, written: Written) -> tuple[Tensor, Tensor]:
    """The tokens of a prompt and its answer, and the targets among them: also the token that ended it."""
    answer = [*written.ids, *([] if written.closer is None else [written.closer])]
    ids = [*prompt.ids, *answer]
    targets = [*[IGNORED] * (len(prompt.ids) - 1), *answer, IGNORED]
    return torch.tensor(ids), torch.tensor(targets)

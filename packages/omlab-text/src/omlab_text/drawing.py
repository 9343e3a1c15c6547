"""How the next token is drawn: processors of logits for transformers' `generate`, which then takes the likeliest.

Each row draws from a generator of its own, seeded by the seed and its prompt: what it is beside, or whether the
answer is streamed, changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from omlab.digests import digest_of
from omlab_text.sampling import Sampling


def processors(
    prompts: Sequence[Sequence[int]], sampling: Sampling, *, form: LogitsProcessor | None = None
) -> tuple[LogitsProcessorList, LogProbs | None]:
    """The processors for a batch, in their order, and the one among them that keeps log-probabilities.

    `form` masks what an answer's form does not allow.
    """
    kept = LogProbs() if sampling.logprobs else None
    found: list[LogitsProcessor] = [kept] if kept is not None else []
    if sampling.repetition_penalty != 1.0:
        found.append(Repeated(sampling.repetition_penalty, lengths=[len(ids) for ids in prompts]))
    if form is not None:
        found.append(form)
    if sampling.temperature > 0:
        found.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k > 0:
            found.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            found.append(TopPLogitsWarper(sampling.top_p))
        found.append(Draw([random.Random(digest_of([sampling.seed, list(ids)])) for ids in prompts]))  # noqa: S311
    return LogitsProcessorList(found), kept


class Draw(LogitsProcessor):
    """Leaves one token a row, drawn by its probability: the first at which the sum of all up to it passes a number."""

    def __init__(self, generators: Sequence[random.Random]) -> None:
        self.generators = generators

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(rows, words) -> the same, -inf but for one word a row."""
        drawn = torch.tensor([[each.random()] for each in self.generators], dtype=torch.float64, device=scores.device)
        sums = torch.softmax(scores.double(), dim=-1).cumsum(dim=-1)
        chosen = torch.searchsorted(sums, drawn * sums[:, -1:], right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


class Repeated(RepetitionPenaltyLogitsProcessor):
    """Makes what was said less likely, of each row by itself: padding in front of a shorter prompt was not said."""

    def __init__(self, penalty: float, *, lengths: Sequence[int]) -> None:
        super().__init__(penalty)
        self.begins = [[max(lengths) - length] for length in lengths]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(rows, words) -> the same."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        is_said = places >= torch.tensor(self.begins, device=input_ids.device)
        found: Tensor = super().__call__(torch.where(is_said, input_ids, input_ids[:, -1:]), scores)
        return found


class LogProbs(LogitsProcessor):
    """Keeps the log-probability that the model itself gave to each token that was taken, one row after the other."""

    def __init__(self) -> None:
        self._found: list[Tensor] = []
        self._last: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores as they are; (rows, words)."""
        self._take(input_ids)
        self._last = torch.log_softmax(scores.float(), dim=-1)
        return scores

    def rows(self, output: Tensor) -> list[list[float]]:
        """Of each row the log-probabilities of its new tokens, when all are written."""
        self._take(output)
        self._last = None
        rows: list[list[float]] = torch.stack(self._found, dim=1).tolist()
        return rows

    def _take(self, ids: Tensor) -> None:
        if self._last is not None:
            self._found.append(self._last.gather(1, ids[:, -1:].to(self._last.device))[:, 0])


class Stop(StoppingCriteria):
    """Ends a row whose text has one of the stop texts, or all when `cancelled` says so."""

    def __init__(self, texts: Sequence[str], *, start: int, text: Callable[[list[int]], str]) -> None:
        self.texts, self.start, self.text = texts, start, text
        self.is_cancelled = False
        self._reach = max((4 * len(each) + 8 for each in texts), default=0)
        """Tokens in which a stop text that ends now must lie: a character is four bytes, hence tokens, at most."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **more: object) -> Tensor:
        """(rows,) whether each is done."""
        done = torch.full((len(input_ids),), self.is_cancelled, device=input_ids.device)
        if self.texts:
            for row, ids in enumerate(input_ids[:, max(self.start, input_ids.shape[1] - self._reach) :].tolist()):
                done[row] |= any(each in self.text(ids) for each in self.texts)
        return done

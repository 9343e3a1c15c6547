"""The verb `score`: how likely a local model finds what was said, or each of some answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch

import omlab
from omlab.errors import InputError
from omlab.payloads import Inputs
from omlab_text.chat import Chat, Turn
from omlab_text.chat_model import Asked, ChatModel
from omlab_text.local import LocalBackend
from omlab_text.options import Likelihoods, Options


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tokens, of which those from `begin` to `end` are to be predicted from all before them."""

    ids: Sequence[int]
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """The texts of one case, and where each stands: a long one in several parts."""

    texts: tuple[str, ...]
    parts: tuple[tuple[Part, ...], ...]


class ScoringModel(ChatModel[Any]):
    """The verbs `generate` and `score` of a model on this machine.

    `score` without options gives how likely each turn of the assistant is after all before it; with options, how likely
    each of them is as the next one. A chat in which the assistant says nothing is a bare text, which no chat format
    frames. What ends a turn is not counted. What is longer than the model has room for is read in windows that overlap
    by half, so that each token is predicted once from at least half a window.
    """

    backend: LocalBackend

    def __init__(self, backend: LocalBackend, **more: Any) -> None:
        super().__init__(backend, **more)

    def prepare(self, verb: str, inputs: Inputs, /, **options: Any) -> Asked[Any] | Weighed:  # type: ignore[override]
        """Check and tokenise. Raises `InputError` where there is nothing to answer, or to score."""
        if verb != "score":
            return super().prepare(verb, inputs, **options)
        chat = omlab.take(inputs, "chat", Chat)
        if "options" not in inputs:
            return self._said(chat)
        chat.check_open()
        texts = omlab.take(inputs, "options", Options).texts
        return Weighed(texts=texts, parts=tuple(self._next(chat, text) for text in texts))

    def score(self, batch: Sequence[Weighed], /) -> Iterator[Likelihoods]:
        """The log-probability of each text of each case; parts of like length are computed together."""
        parts = [part for case in batch for text in case.parts for part in text]
        found = iter(logprobs_of(parts, backend=self.backend))
        for case in batch:
            sums = [sum(next(found) for _ in text) for text in case.parts]
            yield Likelihoods(
                texts=case.texts,
                logprobs=tuple(min(0.0, value) for value in sums),
                tokens=tuple(sum(part.end - part.begin for part in text) for text in case.parts),
            )

    def _said(self, chat: Chat) -> Weighed:
        """Each turn of the assistant that answers something; where there is none, the last turn as a bare text."""
        texts = tuple(turn.text for turn in chat.turns if turn.role == "assistant")
        if not texts:
            return Weighed(texts=(chat.turns[-1].text,), parts=(self._bare(chat.turns[-1].text),))
        encoded = self.backend.format.encode(chat, prompt=False)
        if not encoded.answers:
            raise InputError("The assistant begins the chat, and answers nothing: there is nothing to score.")
        spans = [self._without_end(encoded.ids, *span) for span in encoded.answers]
        parts = tuple(self._windows(encoded.ids, *span) for span in spans)
        return Weighed(texts=texts[-len(parts) :], parts=parts)

    def _bare(self, text: str) -> tuple[Part, ...]:
        """A text after <s>; where a tokenizer has none, its first token is given."""
        tokenizer = self.backend.tokenizer
        ids = [*([] if tokenizer.bos is None else [tokenizer.bos]), *tokenizer.ids(text)]
        return self._windows(ids, 1, len(ids))

    def _next(self, chat: Chat, text: str) -> tuple[Part, ...]:
        """A text as the assistant's next turn, without the opener, whoever writes it."""
        format = self.backend.format
        encoded = format.encode(replace(chat.then(Turn(role="assistant", text=text)), made=None), prompt=False)
        begin, end = self._without_end(encoded.ids, *encoded.answers[-1])
        opener = format.encode(chat, prompt=True, whole=True).ids
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(opener, encoded.ids, strict=False)))
        return self._windows(encoded.ids, max(begin, min(shared, end - 1)), end)

    def _without_end(self, ids: Sequence[int], begin: int, end: int) -> tuple[int, int]:
        """A span up to the first token that ends an answer."""
        stop = next((place for place in range(begin, end) if ids[place] in self.backend.stops), end)
        return begin, stop

    def _windows(self, ids: Sequence[int], begin: int, end: int) -> tuple[Part, ...]:
        """The span in parts that the model has room for."""
        if begin >= end:
            raise InputError("A text that is to be scored has no token that could be predicted.")
        room = self.backend.context or end
        parts = []
        while begin < end:
            first = 0 if end <= room else max(0, begin - room // 2)
            upto = min(end, first + room)
            parts.append(Part(ids=ids[first:upto], begin=begin - first, end=upto - first))
            begin = upto
        return tuple(parts)


def logprobs_of(parts: Sequence[Part], *, backend: LocalBackend) -> list[float]:
    """The summed log-probability (nats) of what is to be predicted in each part."""
    order = sorted(range(len(parts)), key=lambda place: len(parts[place].ids))
    found = dict[int, float]()
    for first in range(0, len(order), backend.rows):
        places = order[first : first + backend.rows]
        found |= zip(places, _logprobs([parts[place] for place in places], backend.network), strict=True)
    return [found[place] for place in range(len(parts))]


def _logprobs(parts: Sequence[Part], network: Any) -> list[float]:
    """Of a batch, padded behind, where nothing looks. Logits are had from the first that counts on alone."""
    longest, start = max(len(part.ids) for part in parts), min(part.begin for part in parts) - 1
    ids = torch.tensor([[*part.ids, *[0] * (longest - len(part.ids))] for part in parts], device=network.device)
    mask = torch.tensor(
        [[1] * len(part.ids) + [0] * (longest - len(part.ids)) for part in parts], device=network.device
    )
    with torch.inference_mode():
        logits = network(ids, attention_mask=mask, use_cache=False, logits_to_keep=longest - start).logits
        sums = []
        for row, part in enumerate(parts):
            wanted = ids[row, part.begin : part.end, None]
            before = logits[row, part.begin - 1 - start : part.end - 1 - start].float()
            sums.append(float((before.gather(1, wanted)[:, 0] - before.logsumexp(dim=1)).double().sum()))
    return sums

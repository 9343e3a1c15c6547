"""Answers as the model itself revises them, before it learns to score: further candidates for a reward model.

Source: "train with self-correction techniques", the OpenMEDLab paper on PULSE, section 3.1, which does not say how.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import omlab
from omlab import progress
from omlab.digests import digest_of
from omlab.errors import OmlabError, OmlabNote
from omlab.roles import Case
from omlab_text.chat import Chat, Turn
from omlab_text.chat_model import Answer
from omlab_text.kept import kept_format, kept_tokenizer
from omlab_text.ranked import Ranking
from omlab_text.reward_head import HEAD
from omlab_text.sampling import Sampling
from omlab_train.cache import PreparedCache

if TYPE_CHECKING:
    from omlab_text.local import LocalBackend
    from omlab_text.local_model import LocalModel

Revisions = Mapping[str, Mapping[int, str]]
"""By case, and by the place of the answer that is revised among the case's."""

_SHARD = 32
"""Cases whose revisions are kept together: what an interrupted training asks again at most."""
_LONGEST = 512
"""Tokens of a revision, within half of what the model has room for."""


class _Asked(NamedTuple):
    """A case as the model is asked about it."""

    id: str
    chat: Chat
    ranking: Ranking

    def to_value(self) -> list[Any]:
        """JSON that says all that its revisions depend on."""
        return [self.id, self.chat.to_value(), self.ranking.texts]


def revisions_of(model: LocalModel, cases: Sequence[Case], *, request: str) -> Revisions:
    """What the model, as it is, makes of each answer of each case when it is shown it and asked to revise it.

    An answer has no revision where the model repeats it, says nothing or does not come to an end, where there is no
    room to ask; and none where an expert has ranked those same words already. How many there are is told.

    Revisions are kept in omlab's cache, by the model's weights and all else that they depend on.

    Args:
        model: Its network is put into evaluation mode.
        cases: Chats with rankings.
        request: What the user says after the answer.
    """
    model.module.eval()
    backend, cache = model.backend, PreparedCache()
    written_by = [_weights(model.module), kept_tokenizer(backend.tokenizer), kept_format(backend.format)]
    known = digest_of([*written_by, backend.context, request])
    found: dict[str, dict[int, str]] = {}
    answers = 0
    with progress.bar("revising", total=len(cases)) as advance:
        for begin in range(0, len(cases), _SHARD):
            asked = [_asked(case) for case in cases[begin : begin + _SHARD]]
            key = digest_of([known, [one.to_value() for one in asked]])
            entry = cache.get(key, partial(_arrays, backend, asked, request=request))
            rows = json.loads(entry["json"].tobytes())
            found |= {id: {int(place): text for place, text in texts.items()} for id, texts in rows.items()}
            answers += sum(len(one.ranking.texts) for one in asked)
            advance(len(asked))
    count = sum(map(len, found.values()))
    warnings.warn(f"Of {answers} answers {count} have a revision of the model's own.", OmlabNote, stacklevel=3)
    return found


def _asked(case: Case) -> _Asked:
    sample = case.load()
    ranking = sample.target
    assert isinstance(ranking, Ranking)  # the recipe has looked
    return _Asked(case.id, omlab.take(sample.inputs, "chat", Chat), ranking)


def _arrays(backend: LocalBackend, asked: Sequence[_Asked], *, request: str) -> dict[str, NDArray[np.uint8]]:
    """The revisions of some cases as JSON in an array of bytes."""
    room = backend.context or 2 * _LONGEST
    sampling = Sampling(max_tokens=min(_LONGEST, room // 2))
    places, prompts = [], []
    for one in asked:
        for place, text in enumerate(one.ranking.texts):
            told = one.chat.then(Turn(role="assistant", text=text)).then(Turn(role="user", text=request))
            prompt = backend.format.encode(told, prompt=True)
            if backend.context is None or len(prompt.ids) + sampling.max_tokens <= backend.context:
                places.append((one, place))
                prompts.append(prompt)
    found: dict[str, dict[int, str]] = {}
    for (one, place), written in zip(places, backend.answer(prompts, sampling), strict=True):
        if text := _new_text(written, one.ranking):
            found.setdefault(one.id, {})[place] = text
    return {"json": np.frombuffer(json.dumps(found).encode(), np.uint8)}


def _new_text(written: Answer | OmlabError, ranking: Ranking) -> str:
    """What was written where it came to an end and no expert has ranked it, else ""."""
    if isinstance(written, OmlabError) or written.made.end != "stop":
        return ""
    text = written.turn.text
    return "" if text in [ranked.strip() for ranked in ranking.texts] else text


def _weights(network: torch.nn.Module) -> str:
    """A digest of all weights that decide what is written: of all but the head."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if not name.startswith(f"{HEAD}."):
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()

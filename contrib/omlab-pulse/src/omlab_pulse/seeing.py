"""Chats that show an image: how they are written in tokens, and how a backend gives them to PULSE."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import omlab
from omlab.errors import InputError, OmlabWarning
from omlab_image.image import Image
from omlab_image.transforms import evaluation
from omlab_pulse.eyes import Eyes
from omlab_text.chat import Chat, Turn
from omlab_text.chat_format import Encoded, Layout, Segments
from omlab_text.local import LocalBackend
from omlab_text.sampling import Sampling
from omlab_text.tokens import Tokenizer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
SEEN = -1
"""In the place of a token: one of an image's."""
QUESTION = "请根据这张胸部X光片写一份报告。"
"""Asked where an image is shown and nothing said: a report of this chest X-ray, please."""
_MARK = "\ue000"
"""Where an image stands in a turn's text."""


class Marked:
    """A tokenizer (`Tokenizer`) for texts with marks: what is between them is tokenised apart.

    Args:
        given: The tokenizer of the text.
        tokens: How many an image has.
    """

    def __init__(self, given: Tokenizer, *, tokens: int) -> None:
        self.given, self.tokens = given, tokens

    @property
    def bos(self) -> int | None:
        """As in `Tokenizer`."""
        return self.given.bos

    def ids(self, text: str) -> list[int]:
        """As in `Tokenizer`, with `SEEN` for each token of an image."""
        first, *rest = [self.given.ids(part) if part else [] for part in text.split(_MARK)]
        return sum(([SEEN] * self.tokens + part for part in rest), first)

    def id(self, token: str) -> int:
        """As in `Tokenizer`."""
        return self.given.id(token)

    def text(self, ids: Sequence[int]) -> str:
        """As in `Tokenizer`; images say nothing."""
        return self.given.text([id for id in ids if id != SEEN])


class SeeingFormat(Segments):
    """A layout whose turns may show an image: `<Img>`, its tokens, `</Img>`, then what is said."""

    def __init__(self, layout: Layout, tokenizer: Tokenizer, *, tokens: int) -> None:
        super().__init__(layout, Marked(tokenizer, tokens=tokens))

    def encode(self, chat: Chat, *, prompt: bool, whole: bool = False) -> Encoded:
        """As in `ChatFormat`."""
        turns = tuple(_with_mark(turn) for turn in chat.turns)
        return super().encode(replace(chat, turns=turns), prompt=prompt, whole=whole)


@dataclass(frozen=True, kw_only=True)
class Seeing(Encoded):
    """A chat in tokens and the image (3, size, size) that it shows."""

    pixels: Tensor | None = None


class SeeingBackend(LocalBackend):
    """PULSE with eyes. Chats that show nothing are PULSE's own.

    Args:
        network: A BLOOM of transformers.
        eyes: On its device.
        norms: How often the embeddings of text beside an image pass the norm that follows them: BLOOM applies it to
            what it is given, and XrayPULSE was trained with one of its own before that. Images pass one.
        more: As of `LocalBackend`.
    """

    def __init__(self, network: Any, *given: Any, eyes: Eyes, norms: int, **more: Any) -> None:
        super().__init__(network, *given, **more)
        self.eyes, self.norms = eyes.eval(), norms
        self.pixels_of = evaluation(eyes.config.size, crop=1.0, aspect="ignore", mean=CLIP_MEAN, std=CLIP_STD)

    def prepare(self, chat: Chat, sampling: Sampling) -> Seeing:
        """As in `LocalBackend`, with the image read. Raises `InputError` where it cannot be."""
        shown = [place for turn in chat.turns for place in turn.images]
        if len(shown) > 1:
            raise InputError(f"The chat shows {len(shown)} images, but the model sees one: {', '.join(shown)}.")
        if not shown:
            warnings.warn("The chat shows no image: PULSE answers from the text alone.", OmlabWarning, stacklevel=2)
        pixels = self.pixels_of(_image(shown[0])) if shown else None
        encoded = super().prepare(chat, sampling)
        if pixels is not None and SEEN not in encoded.ids:
            raise InputError(f"The turn that shows {shown[0]} has no room: shorten the chat, or show it again later.")
        return Seeing(**vars(encoded), pixels=pixels)

    def asked_with(self, batch: Sequence[Encoded]) -> dict[str, Tensor]:
        """As in `LocalBackend`, with the embeddings that the first step reads in place of the tokens."""
        given = super().asked_with(batch)
        places = given["input_ids"] == SEEN
        if not places.any():
            return given
        ids = given["input_ids"].masked_fill(places, 0)
        embeddings = self.network.get_input_embeddings()(ids)
        if self.norms == 2:
            again = self.network.base_model.word_embeddings_layernorm(embeddings)
            embeddings = torch.where(places.any(dim=1)[:, None, None], again, embeddings)
        images = torch.stack([one.pixels for one in batch if isinstance(one, Seeing) and one.pixels is not None])
        embeddings[places] = self.eyes(images.to(ids.device)).flatten(0, 1).to(embeddings.dtype)
        return given | {"input_ids": ids, "inputs_embeds": embeddings}


def _with_mark(turn: Turn) -> Turn:
    text = turn.text.replace(_MARK, "")
    if not turn.images:
        return replace(turn, text=text)
    return replace(turn, text=f"<Img>{_MARK}</Img> {text or QUESTION}", images=())


def _image(place: str) -> Image:
    """The image at a place. Raises `InputError` where there is none, or what is there is no image."""
    if "://" in place or place.startswith("data:"):
        raise InputError(f"The image {place:.60} is an address, and nothing is fetched: save it, and name the file.")
    path = Path(place)
    if not path.is_file():
        raise InputError(f"The image {place} that the chat shows is not there: paths are taken from {Path.cwd()}.")
    found = omlab.read(path, kind="image")
    assert isinstance(found, Image)
    return found

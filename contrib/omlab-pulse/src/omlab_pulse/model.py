"""PULSE as models of omlab: they chat, and say how likely they find answers.

session = omlab.load_model("pulse-7b")
answer = session.generate(ask("发烧怎么办"))
"""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from transformers import AutoTokenizer, LlamaTokenizer

from omlab.card_schema import ModelCard
from omlab.errors import OmlabNote, WeightsError
from omlab.session import Session
from omlab.weights import Weights
from omlab_pulse.rope import scale_rotary
from omlab_text.chat_format import layout
from omlab_text.kept import kept_network
from omlab_text.loading import backend_of, open_kept, open_weights
from omlab_text.local_model import LocalModel
from omlab_text.reward_model import adapted_model
from omlab_text.tiny import Family, tiny_network, tiny_tokenizer
from omlab_text.tokens import TransformersTokenizer

FORMATS: Mapping[Family, str] = {"bloom": "pulse-v5", "llama": "pulse-v5-bos"}
BLOOM_CONTEXT = 2048
"""Tokens that BLOOM was trained with, which its configuration need not say."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """By what a network is recognised."""

    family: Family
    layers: int
    width: int


SIZES = {
    "pulse-7b": Size(family="bloom", layers=30, width=4096),
    "pulse-20b": Size(family="llama", layers=60, width=5120),
    "pulse-bloom-tiny": Size(family="bloom", layers=2, width=32),
    "pulse-llama-tiny": Size(family="llama", layers=2, width=32),
}


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> LocalModel:
    """The entry of the cards. Untrained, each is the tiny network of its family.

    Raises `WeightsError` where the files are of another network.
    """
    size = SIZES[card.name]
    if config is not None:
        name = config["name"]
        network, tokenizer = open_kept(config, weights=weights, device=device, settings=settings)
    elif weights is None:
        name = f"{card.name}.untrained"
        tokenizer = TransformersTokenizer(tiny_tokenizer(size.family))
        network = tiny_network(size.family, words=len(tokenizer.given)).to(device)
    else:
        name = f"{card.name}.{weights.tag}"
        # converted InternLM folders name code of their own for what is Llama's tokenizer
        known = LlamaTokenizer if size.family == "llama" else AutoTokenizer
        network, tokenizer = open_weights(weights, device=device, settings=settings, tokenizer_class=known)
        _check(network, tokenizer, size, name=card.name)
        _tell_licence(card)
    stored = kept_network(network)  # positions are scaled by the settings, each time that it is loaded
    if size.family == "llama":
        scale_rotary(network, rope=settings["rope"], factor=settings["rope_factor"])
    room = settings["context"] or _context(network, factor=settings["rope_factor"])
    format = layout(FORMATS[size.family]).on(tokenizer)
    backend = backend_of(network, tokenizer, format, name=name, settings={**settings, "context": room})
    return adapted_model(backend, config or {}, network=stored, presets={"none": "", **presets()})


def presets() -> dict[str, str]:
    """Texts that may be put before the first question, by name."""
    return tomllib.loads(resources.files(__package__).joinpath("presets.toml").read_text(encoding="utf-8"))


def _context(network: Any, *, factor: float) -> int:
    """Tokens for question and answer: those of the training, times what rotary positions are scaled by."""
    if network.config.model_type == "bloom":
        return int(getattr(network.config, "seq_length", BLOOM_CONTEXT))
    return int(network.config.max_position_embeddings * factor)


def _check(network: Any, tokenizer: TransformersTokenizer, size: Size, *, name: str) -> None:
    config = network.config
    found = (config.model_type, config.num_hidden_layers, config.hidden_size)
    if found != (size.family, size.layers, size.width):
        raise WeightsError(
            f"The files hold a {found[0]} of {found[1]} layers of width {found[2]}, but {name} is a {size.family} of "
            f"{size.layers} layers of width {size.width}: any other model chats as causal-lm."
        )
    last = max(tokenizer.given.get_vocab().values())
    if last >= config.vocab_size:
        raise WeightsError(
            f"The tokenizer has a token {last}, but the network's table ends at {config.vocab_size - 1}: the tokenizer "
            "is of another model, or was converted wrongly."
        )


def _tell_licence(card: ModelCard) -> None:
    for published in card.weights.values():
        warnings.warn(
            f"The weights of {card.name} are under this licence: {published.licence}", OmlabNote, stacklevel=2
        )

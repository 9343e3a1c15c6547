"""Causal language models of transformers from a user's files: a folder as they are published in, or a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from omlab.card_schema import ModelCard
from omlab.errors import DeviceError, MissingDependencyError, SettingsError, WeightsError, first_line
from omlab.session import Session
from omlab.weights import Weights
from omlab_text.bloom import lean_attention
from omlab_text.chat_format import ChatFormat, Template, layout
from omlab_text.kept import DTYPES, format_of, network_of, tokenizer_of
from omlab_text.local import LocalBackend
from omlab_text.local_model import LocalModel
from omlab_text.reward_model import adapted_model
from omlab_text.tiny import tiny_network, tiny_tokenizer
from omlab_text.tokens import TransformersTokenizer

_GGUF = b"GGUF"
"""What such a file begins with."""
_GROUP = 128
"""Weights that share a scale in int4."""


def load_causal_lm(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> LocalModel:
    """The entry of `causal-lm`. Untrained it is a tiny Llama."""
    if config is not None:
        network, tokenizer = open_kept(config, weights=weights, device=device, settings=settings)
        named = settings["format"]
        is_kept = named == "auto" or named.endswith(".toml")  # the file may be gone, or be another by now
        format = format_of(config, tokenizer) if is_kept else chat_format(tokenizer, named)
        name = config["name"]
    elif weights is None:
        tokenizer = TransformersTokenizer(tiny_tokenizer("llama"))
        network = tiny_network("llama", words=len(tokenizer.given)).to(device)
        format = chat_format(tokenizer, settings["format"], fallback="chatml")
        name = f"{card.name}.untrained"
    else:
        network, tokenizer = open_weights(weights, device=device, settings=settings)
        format = chat_format(tokenizer, settings["format"])
        name = (weights.folder or weights.path()).resolve().name
    return adapted_model(backend_of(network, tokenizer, format, name=name, settings=settings), config or {})


def backend_of(
    network: Any, tokenizer: TransformersTokenizer, format: ChatFormat, *, name: str, settings: Mapping[str, Any]
) -> LocalBackend:
    """The backend of a network with the settings `rows`, `cache` and `context` (0: as the network says).

    A BLOOM is given attention without T x T scores, in place.
    """
    lean_attention(network)
    return LocalBackend(
        network,
        tokenizer,
        format,
        name=name,
        rows=settings["rows"],
        cache=settings["cache"],
        context=settings["context"] or None,
    )


def open_weights(
    weights: Weights, *, device: str, settings: Mapping[str, Any], tokenizer_class: Any = AutoTokenizer
) -> tuple[Any, TransformersTokenizer]:
    """A network on its device and its tokenizer, by the settings `dtype` and `quantised`.

    Code that a folder brings is never run, and nothing is fetched. `tokenizer_class` is that of transformers which the
    tokenizer is known to be of, where its folder names code of its own.

    Raises `WeightsError` for what is no such folder or file, `DeviceError` for a form that the device cannot compute.
    """
    place, more = _place(weights)
    dtype = DTYPES.get(settings["dtype"], "auto")
    if settings["quantised"] == "int4":
        if not device.startswith("cuda"):
            raise DeviceError("quantised=int4 is computed on a GPU alone: choose int8 here.")
        dtype = torch.bfloat16
    try:
        network: Any = AutoModelForCausalLM.from_pretrained(
            place, dtype=dtype, local_files_only=True, trust_remote_code=False, **more
        )
    except ImportError as error:
        raise MissingDependencyError(f"{place} needs a package that is not installed: {first_line(error)}.") from None
    except Exception as error:  # whatever transformers makes of another's files
        raise WeightsError(f"{place} holds no language model that transformers reads: {first_line(error)}.") from error
    try:
        tokenizer = tokenizer_class.from_pretrained(place, local_files_only=True, trust_remote_code=False, **more)
    except Exception as error:
        raise WeightsError(f"{place} holds no tokenizer that transformers reads: {first_line(error)}.") from error
    return _quantised(network.to(device).eval(), settings["quantised"]), TransformersTokenizer(tokenizer)


def open_kept(
    config: Mapping[str, Any], *, weights: Weights | None, device: str, settings: Mapping[str, Any]
) -> tuple[Any, TransformersTokenizer]:
    """The network and tokenizer of what `LocalModel.config` gave, by the setting `dtype`; without weights untrained.

    Raises `SettingsError` where it is to be quantised, `WeightsError` where the weights do not fit.
    """
    if settings["quantised"] != "none":
        raise SettingsError("An adapted model is not quantised: leave the setting quantised out.")
    network = network_of(config, dtype=settings["dtype"])
    if weights is not None:
        weights.load(network)
    return network.to(device), tokenizer_of(config)


def chat_format(tokenizer: TransformersTokenizer, name: str, *, fallback: str = "") -> ChatFormat:
    """The chat format of that name; `auto`: the tokenizer's own template, else `fallback`.

    Raises `SettingsError` for an unknown one, `WeightsError` where there is neither template nor fallback.
    """
    if name != "auto":
        return layout(name).on(tokenizer)
    if tokenizer.given.chat_template:
        return Template(tokenizer)
    if not fallback:
        raise WeightsError(
            "The model's tokenizer brings no chat template: say how its chats are written with -s format=chatml "
            "(where it is trained, model.format), plain (it only goes on with a text), another name or a file (see the "
            "page on chats)."
        )
    return layout(fallback).on(tokenizer)


def _place(weights: Weights) -> tuple[Path, dict[str, str]]:
    """The folder, and what says which file in it. Raises `WeightsError` for one that is neither."""
    if weights.folder is not None:
        if "config.json" not in weights.files:
            raise WeightsError(f"{weights.folder} is no folder of a language model: it has no config.json.")
        return weights.folder, {}
    path = next(iter(weights.files.values()))
    try:
        with path.open("rb") as stream:
            begin = stream.read(len(_GGUF))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from None
    if begin != _GGUF:
        raise WeightsError(f"{path} is no GGUF file: name the folder in which the model was published.")
    return path.parent, {"gguf_file": path.name}


def _quantised(network: Any, form: str) -> Any:
    """The network with weights of fewer bits, which are made larger when they are used; embeddings stay."""
    if form == "none":
        return network
    try:
        torchao = import_module("torchao.quantization")
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"quantised={form} needs the Python package 'torchao': install omlab-text[quantised]."
        ) from None
    if form == "int8":
        config = torchao.Int8WeightOnlyConfig()
    else:
        config = torchao.Int4WeightOnlyConfig(group_size=_GROUP, int4_packing_format="tile_packed_to_4d")
    torchao.quantize_(network, config)
    return network

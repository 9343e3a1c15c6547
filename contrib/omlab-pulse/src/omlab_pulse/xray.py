"""XrayPULSE as a model of omlab: PULSE-7b that sees a chest X-ray.

session = omlab.load_model("xraypulse", weights="xraypulse/")
answer = session.generate(Chat(turns=(Turn(role="user", text="有什么发现?", images=("chest.png",)),)))
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from omlab.card_schema import ModelCard
from omlab.errors import OmlabNote, UsageError, WeightsError
from omlab.session import Session
from omlab.weights import Weights, read_state_dict
from omlab_pulse.eyes import TINY, Eyes, EyesConfig, load_eyes
from omlab_pulse.model import FORMATS, presets
from omlab_pulse.seeing import SeeingBackend, SeeingFormat
from omlab_text.chat_format import layout
from omlab_text.chat_model import ChatModel
from omlab_text.local import LocalBackend

CHECKPOINTS = (".pth", ".pt", ".bin", ".safetensors")
"""What files of weights are called in the user's folder."""
SYSTEM = (
    "You are Helper, a large language model that reads chest X-rays. Answer as concisely as possible.\n"
    "Knowledge cutoff: 2021-09-01"
)
"""Where a chat brings no instruction; of the published one the name and the maker were not at hand."""


def load(
    card: ModelCard,
    *,
    weights: Weights | None,
    needs: Mapping[str, Session],
    device: str,
    settings: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> ChatModel[Any]:
    """The entry of the cards. Untrained, the eyes are tiny.

    Raises `WeightsError` where the files are not all of the eyes, `UsageError` where the language model is no BLOOM.
    """
    language = needs["language"].model
    backend = getattr(language, "backend", None)
    if not isinstance(backend, LocalBackend) or backend.network.config.model_type != "bloom":
        raise UsageError(f"{card.name} sees for a BLOOM on this machine, such as pulse-7b: name one with --need.")
    eyes = _eyes(weights, width=backend.network.config.hidden_size, is_tiny=card.name == "xraypulse-tiny")
    eyes.to(device)
    eyes.vision.to(backend.network.dtype)
    format = replace(layout(FORMATS["bloom"]), name="xraypulse", system=SYSTEM)
    seeing = SeeingBackend(
        backend.network,
        backend.tokenizer,
        SeeingFormat(format, backend.tokenizer, tokens=eyes.config.tokens),
        name=f"{card.name}.{weights.tag if weights else 'untrained'}",
        rows=backend.rows,
        context=backend.context,
        eyes=eyes,
        norms=settings["norms"],
    )
    return ChatModel(seeing, presets={"none": "", **presets()})


def _eyes(weights: Weights | None, *, width: int, is_tiny: bool) -> Eyes:
    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Eyes(TINY, width=width)
    warnings.warn("XrayPULSE's projection is under this licence: CC-BY-NC-4.0.", OmlabNote, stacklevel=2)
    eyes = Eyes(TINY if is_tiny else EyesConfig(), width=width)
    paths = [path for path in weights.files.values() if path.suffix in CHECKPOINTS]
    if not paths:
        raise WeightsError(f"{weights.folder} holds no checkpoint ({', '.join(CHECKPOINTS)}) of XrayPULSE's eyes.")
    load_eyes(eyes, {path.name: read_state_dict(path, wrapper="model", converted=True) for path in paths})
    return eyes

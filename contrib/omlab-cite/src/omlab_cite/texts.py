"""Texts of classes as vectors: by an encoder of transformers whose files lie on this machine, or drawn.

    encoder = read_encoder(Path("BioLinkBERT-large"))          # config.json, tokenizer files, one checkpoint
    encoder(["Poorly differentiated adenocarcinoma"])          # (1, 1024)

Nothing is ever fetched here: files are the user's, or those that omlab's weights brought.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from omlab.errors import SettingsError, WeightsError, first_line
from omlab.weights import read_state_dict

Pooling = Literal["pooled", "first"]
CONFIG = "config.json"
CHECKPOINTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.safetensors")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


class TextEncoder(Protocol):
    """Texts to vectors."""

    def __call__(self, texts: Sequence[str], /) -> Tensor:
        """One row a text, (N, D) float32 on the CPU."""
        ...


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What stands for a text encoder where there are no weights at all: a vector that is drawn from the text itself."""

    width: int

    def __call__(self, texts: Sequence[str], /) -> Tensor:
        """One row a text."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") for text in texts]
        rows = [np.random.default_rng(seed).standard_normal(self.width, dtype=np.float32) for seed in seeds]
        return torch.from_numpy(np.stack(rows))


class TransformersEncoder:
    """A text encoder of transformers.

    Args:
        model: A BERT-like model, or CLIP's text tower with its projection.
        tokenizer: Its own.
        pooling: What stands for a text: `pooled` (CLIP: the projected last token), or the `first` token.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, *, pooling: Pooling = "pooled") -> None:
        self.model, self.tokenizer, self.pooling = model.eval(), tokenizer, pooling

    def __call__(self, texts: Sequence[str], /) -> Tensor:
        """One row a text; each is encoded by itself, so that none is padded."""
        limit = getattr(getattr(self.model, "config", None), "max_position_embeddings", None)
        ids = [
            self.tokenizer(text, truncation=limit is not None, max_length=limit, return_tensors="pt")["input_ids"]
            for text in texts
        ]
        return encoded(self.model, ids, pooling=self.pooling)


def encoded(model: nn.Module, ids: Sequence[Tensor], *, pooling: Pooling) -> Tensor:
    """The vector of each text, (N, D): `pooled` is tanh of a layer on the first token, `first` that token itself.

    Args:
        model: Of transformers.
        ids: Poolings of a text, (1, n) each.
        pooling: Which.

    Raises:
        SettingsError: The model has no pooled output.
    """
    rows = []
    with torch.inference_mode():
        for text in ids:
            found = model(input_ids=text)
            row = getattr(found, "text_embeds", None) if pooling == "pooled" else found.last_hidden_state[:, 0]
            row = getattr(found, "pooler_output", None) if row is None else row
            if row is None:
                raise SettingsError(f"{type(model).__name__} has no pooled output: set pooling=first.")
            rows.append(row.float())
    return torch.cat(rows).clone()


def read_encoder(folder: Path, *, pooling: Pooling = "pooled") -> TransformersEncoder:
    """The text encoder in a folder of Hugging Face's form.

    Raises:
        SettingsError: It is no folder, or has no encoder in it.
        WeightsError: The checkpoint does not fit.
    """
    _check_folder(folder)
    return encoder_of({path.name: path for path in folder.iterdir() if path.is_file()}, source=folder, pooling=pooling)


def check_settings(settings: Mapping[str, Any], *, weights: str) -> None:
    """Raise `SettingsError` where classes cannot be told by these settings of a model, or the folder is not there."""
    if len(texts_of(settings["classes"])) < 2:
        raise SettingsError("'classes' names fewer than two classes: give the text of each, as NAME=TEXT.")
    if settings["text"]:
        _check_folder(Path(settings["text"]).expanduser())


def encoder_of(files: Mapping[str, Path], *, source: Path | str, pooling: Pooling = "pooled") -> TransformersEncoder:
    """The text encoder of files by their names.

    Raises:
        SettingsError: A file is not there.
        WeightsError: The checkpoint does not fit, or the configuration cannot be understood.
    """
    checkpoint = next((files[name] for name in CHECKPOINTS if name in files), None)
    lacking = [
        wanted
        for wanted, found in (
            (CONFIG, CONFIG in files),
            (f"tokenizer ({', '.join(TOKENIZERS[:3])})", any(name in files for name in TOKENIZERS)),
            (f"checkpoint ({', '.join(CHECKPOINTS[:2])})", checkpoint is not None),
        )
        if not found
    ]
    if lacking:
        raise SettingsError(f"{source} holds no text encoder: it has no {' and no '.join(lacking)}.")
    assert checkpoint is not None
    config = _configuration(files[CONFIG])
    with _quiet():
        model = _model(config, read_state_dict(checkpoint), pooling=pooling, source=checkpoint)
        return TransformersEncoder(model, _tokenizer(files, source=source), pooling=pooling)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise SettingsError(
            f"There is no folder {folder} of a text encoder: give one with config.json, the tokenizer's files and a "
            "checkpoint, such as a copy of michiyasunaga/BioLinkBERT-large."
        )


def _configuration(path: Path) -> Any:
    from transformers import AutoConfig

    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        kind = said.pop("model_type")
        config = AutoConfig.for_model(kind, **said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} does not tell a text encoder that transformers knows ({error}).") from error
    if kind != "clip":
        return config
    config.text_config.projection_dim = config.projection_dim  # which some files say of the whole alone
    return config.text_config


def _model(config: Any, state: Mapping[str, Tensor], *, pooling: Pooling, source: Path) -> nn.Module:
    from transformers import MODEL_MAPPING, CLIPTextModelWithProjection

    if config.model_type != "clip_text_model" and type(config) not in MODEL_MAPPING:
        raise WeightsError(f"{source}: transformers has no text encoder of the type '{config.model_type}'.")
    kind: Any = CLIPTextModelWithProjection if config.model_type == "clip_text_model" else MODEL_MAPPING[type(config)]
    try:
        made, found = kind.from_pretrained(None, config=config, state_dict=dict(state), output_loading_info=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(f"{source} does not fit its config.json ({first_line(error)}).") from error
    model: nn.Module = made
    missing = sorted(name for name in found["missing_keys"] if not name.endswith("position_ids"))
    if pooling == "first":
        missing = [name for name in missing if not name.startswith("pooler.")]
    if missing or found["mismatched_keys"]:
        names = missing or [str(row[0]) for row in found["mismatched_keys"]]
        hint = " set pooling=first." if all(name.startswith("pooler.") for name in names) else " get it again."
        raise WeightsError(f"{source} lacks {names[0]} of {len(names)} that {kind.__name__} needs:{hint}")
    return model


def _tokenizer(files: Mapping[str, Path], *, source: Path | str) -> Any:
    """Transformers reads tokenizers from folders alone: one of links, for files that lie apart in the cache."""
    from transformers import AutoTokenizer

    with TemporaryDirectory(prefix="omlab-tokenizer-") as folder:
        for name, path in files.items():
            if name not in CHECKPOINTS:
                (Path(folder) / name).symlink_to(path.absolute())
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises what its parsers happen to
            raise WeightsError(f"The tokenizer of {source} cannot be read ({first_line(error)}).") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and reports: what is wrong is said as an error."""
    from transformers import utils

    logging: Any = utils.logging
    level, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bar:
            logging.enable_progress_bar()


def texts_of(said: Sequence[str]) -> dict[str, str]:
    """Classes with their texts, of entries NAME=TEXT; a TEXT alone is the name too.

    Raises:
        SettingsError: A class has no text, or there are two of one name.
    """
    found: dict[str, str] = {}
    for entry in said:
        name, is_named, text = str(entry).partition("=")
        name, text = name.strip(), (text if is_named else name).strip()
        if not name or not text:
            raise SettingsError(f"The class '{name or entry}' has no text: write it as NAME=TEXT.")
        if name in found:
            raise SettingsError(f"The class '{name}' is named twice.")
        found[name] = text
    return found

"""What an adapted language model keeps beside its weights, so that its folder needs no other: JSON.

network      the configuration of transformers
stops        the tokens that end an answer
tokenizer    the text of each of its files
format       how chats are written; null: by the tokenizer's own template
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from omlab.errors import TrainingError, WeightsError
from omlab_text.chat_format import ChatFormat, Layout, Segments, Template
from omlab_text.reward_head import add_head
from omlab_text.tokens import TransformersTokenizer

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def kept_network(network: Any) -> dict[str, Any]:
    """The configuration of a network, by which `network_of` makes it again."""
    config: dict[str, Any] = network.config.to_dict()
    return {**config, "dtype": str(network.dtype).removeprefix("torch.")}


def network_of(kept: Mapping[str, Any], *, dtype: str = "auto") -> Any:
    """A network with weights drawn at random; `dtype`: of its numbers, `auto` as it was kept."""
    config = AutoConfig.for_model(**{**kept["network"], "dtype": None})
    wanted = DTYPES[kept["network"]["dtype"] if dtype == "auto" else dtype]
    network: Any = AutoModelForCausalLM.from_config(config, dtype=wanted)  # type: ignore[no-untyped-call]
    network.generation_config.eos_token_id = list(kept["stops"])
    if "reward" in kept:
        add_head(network, seed=0)
    return network.eval()


def kept_tokenizer(tokenizer: TransformersTokenizer) -> dict[str, str]:
    """The files of a tokenizer. Raises `TrainingError` where one of them is no text."""
    with TemporaryDirectory() as folder:
        tokenizer.given.save_pretrained(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        try:
            return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}
        except UnicodeDecodeError:
            raise TrainingError(
                f"A tokenizer of the class {type(tokenizer.given).__name__} cannot be kept with an adapted model: its "
                "files are no texts. Convert it to tokenizer.json first."
            ) from None


def tokenizer_of(kept: Mapping[str, Any]) -> TransformersTokenizer:
    """The tokenizer that was kept. Raises `WeightsError` where its files are none of a tokenizer's."""
    with TemporaryDirectory() as folder:
        inside = Path(folder).resolve()
        for name, text in kept["tokenizer"].items():
            path = (inside / name).resolve()
            if inside not in path.parents:  # a folder of somebody else's must not write where it likes
                raise WeightsError(f"The adapted model's tokenizer has a file '{name}', which lies outside of it.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        try:
            return TransformersTokenizer(
                AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            )
        except Exception as error:  # whatever transformers makes of files that somebody changed
            raise WeightsError(f"The adapted model holds no tokenizer that transformers reads: {error}.") from error


def kept_format(format: ChatFormat) -> dict[str, Any] | None:
    """A chat format as data; None for the tokenizer's own template."""
    return format.layout.to_value() if isinstance(format, Segments) else None


def format_of(kept: Mapping[str, Any], tokenizer: TransformersTokenizer) -> ChatFormat:
    """The chat format that was kept."""
    found = kept["format"]
    return Template(tokenizer) if found is None else Layout.from_value(found).on(tokenizer)

"""Folders in the form in which PULSE was published, with tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.convert_slow_tokenizer import import_protobuf

UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1
"""Types of sentencepiece's pieces."""


def as_pickled_shards(folder: Path) -> None:
    """The weights as two pickled files with an index, as PULSE-7bv5's."""
    state = load_file(folder / "model.safetensors")
    names, index = sorted(state), {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), start=1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: state[name] for name in part}, folder / file)
        index |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "model.safetensors").unlink()


def as_sentencepiece(folder: Path) -> None:
    """The tokenizer as a sentencepiece file whose configuration names code of its own, as converted InternLM's."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    model = import_protobuf().ModelProto()
    model.trainer_spec.model_type = 2  # BPE
    model.trainer_spec.byte_fallback = True
    for name, id in sorted(vocabulary.items(), key=lambda item: item[1]):
        kinds = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL}
        kind = kinds.get(name, BYTE if name.startswith("<0x") else NORMAL)
        model.pieces.add(piece=name, score=-float(id), type=kind)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    (folder / "tokenizer.json").unlink()
    own = {"AutoTokenizer": ["tokenization_internlm.InternLMTokenizer", None]}
    given = {"tokenizer_class": "InternLMTokenizer", "auto_map": own, "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(given))

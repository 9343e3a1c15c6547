"""A tiny copy of PatchGastricADC22, and a tiny random text encoder, written where a test wants them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from omlab_cite.gastric.lists import SUBTYPES, lines_of, read_table, split

LETTERS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "well", "moderately", "poorly", "differentiated", "tubular",
           "adeno", "##carcinoma", "a", "b")  # fmt: skip
OTHER = "Papillary adenocarcinoma"


def slides_of(count: int) -> list[tuple[str, str]]:
    """Ids of 32 hex digits and subtypes in turn, one of them that no class has."""
    kinds = [*SUBTYPES, OTHER]
    return [(f"{place:032x}", kinds[place % len(kinds)]) for place in range(count)]


def write_gastric(root: Path, *, slides: int = 25, size: int = 12, patches: int = 2) -> Path:
    """`captions.csv` and `patches_captions`: colour and texture tell the classes apart, more or less."""
    folder = root / "patches_captions"
    folder.mkdir(parents=True)
    with (root / "captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "subtype", "text"])
        for place, (id, subtype) in enumerate(slides_of(slides)):
            writer.writerow([id, subtype, f'Cells, "atypical", of slide {place}.'])
            for number in range(patches + place % 3):
                write_patch(
                    folder / f"{id}_{number:04x}.jpg", SUBTYPES.get(subtype, 0), size=size, seed=100 * place + number
                )
    return root


def write_lists(root: Path) -> Path:
    """The lists that upstream's script writes beside the patches, so that a patch that is gone is missed."""
    listing = sorted(path.name for path in (root / "patches_captions").iterdir())
    found = split(read_table(root / "captions.csv"), listing, share=0.8, seed=0)
    folder = root / "gastric_cls3_ann"
    folder.mkdir()
    (folder / "train_all_0.2.txt").write_text("\n".join(lines_of(found.train)))
    (folder / "val_0.8.txt").write_text("\n".join(lines_of(found.test)))
    return root


def write_patch(path: Path, label: int, *, size: int, seed: int) -> None:
    """Stripes that become finer, and purple that becomes darker, with the grade; a chance tint, and noise."""
    draw = np.random.default_rng(seed)
    tint = np.array([170, 110, 170]) - 15 * label + draw.normal(0, 12, 3)
    row, column = np.mgrid[:size, :size] / size
    angle = draw.uniform(0, np.pi)
    wave = np.sin(2 * np.pi * (2 + 3 * label) * (np.cos(angle) * row + np.sin(angle) * column) + draw.uniform(0, 6))
    pixels = tint + 35 * wave[..., None] + draw.normal(0, 25, (size, size, 3))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=95)


def write_encoder(folder: Path, *, width: int = 32, prefix: str = "") -> Path:
    """A BERT of two layers with a vocabulary of a few words, as Hugging Face lays one out."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(LETTERS))
    config = BertConfig(
        vocab_size=len(LETTERS), hidden_size=width, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40,
    )  # fmt: skip
    config.save_pretrained(folder)
    torch.manual_seed(0)
    state = {prefix + name: value.clone() for name, value in BertModel(config).state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return folder

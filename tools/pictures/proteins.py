"""Pictures of models for proteins: what they learned of drawn sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import omlab
from omlab_protein.alphabet import MASK, RESIDUES, encode
from omlab_protein.heatmap import matrix
from omlab_protein.network import Esm, packed
from omlab_protein.sequence import Sequence
from tools.pictures.drawing import beside, curve, heat, scatter
from tools.pictures.volumes import curve_of

HYDROPHOBIC, OTHERS = "AILMFVWY", "CDEGHKNPQRST"
SPLITS = {"train": 160, "val": 30, "test": 60}
TRAINING = {"epochs": 10, "batch_size": 8, "learning_rate": 0.003}
FAMILY = ("ILVM", "DE", "FWY", "KR", "AG", "NQ", "ST", "DE", "ILVM", "KR", "FWY", "ST", "AG", "DE", "KR", "ILVM")
STRAY = 0.1
"""How often a sequence of the family has any residue in place of one of its position's."""
STEPS, BATCH = 500, 48
HEIGHT = 360


def predicted(model: str, folder: Path) -> tuple[Image.Image, str]:
    """A number of each sequence, as a small network tells it, against the truth."""
    table, mine = folder / "sequences.csv", folder / model
    rows = ["id,sequence:sequence,target,split"]
    draws = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for number in range(count):
            letters, share = _drawn(draws)
            rows.append(f"{split}-{number},{letters},{40 + 30 * share + draws.normal():.2f},{split}")
    table.write_text("\n".join(rows), encoding="utf-8")
    data = f"cases:{table}"
    omlab.adapt(model, data, recipe="regression", output=mine, settings=TRAINING, device="cpu")
    session = omlab.load_model(mine, device="cpu")
    truth, found = [], []
    for case in omlab.load_dataset(data).cases("test"):
        sample: Any = case.load()
        answer: Any = session.predict(**sample.inputs)
        truth.append(next(iter(sample.target.values.values())))
        found.append(next(iter(answer.values.values())))
    return beside(scatter(truth, found, unit="°C", height=HEIGHT), curve_of(mine), height=HEIGHT), (
        f"A small network of this form after a short training on {SPLITS['train']} sequences; their number is 40 + "
        "30 times their hydrophobic share: its answers for others, its loss. Not the published weights, and no protein"
    )


def _drawn(draws: np.random.Generator) -> tuple[str, float]:
    """A sequence of 10 to 19 residues, and its hydrophobic share."""
    chance = draws.uniform(0, 1)
    inside = draws.uniform(size=draws.integers(10, 20)) < chance
    letters = "".join(draws.choice(list(HYDROPHOBIC if one else OTHERS)) for one in inside)
    return letters, float(inside.mean())


def scanned(model: str, folder: Path) -> tuple[Image.Image, str]:
    """Every single mutant of a member of a drawn family: what a small network says, beside the truth."""
    session = omlab.load_model(f"{model}.untrained", device="cpu")
    losses = _taught(session.model.module)  # type: ignore[attr-defined]  # a language model has its network
    wild = "".join(residues[0] for residues in FAMILY)
    answer: Any = session.score(Sequence(letters=wild, name="wild"), rule="masked")
    chances = np.array(
        [[STRAY / len(RESIDUES) + (1 - STRAY) * (one in group) / len(group) for group in FAMILY] for one in RESIDUES]
    )
    truth = np.log(chances) - np.log([chances[RESIDUES.index(one), place] for place, one in enumerate(wild)])
    tables = (truth, matrix(answer.mutants, answer.scores))
    panels = [
        heat(table, rows=RESIDUES, name=name, height=HEIGHT)
        for table, name in zip(tables, ("each mutant, truth", "by the network"), strict=True)
    ]
    return beside(*panels, curve(losses, name="loss", height=HEIGHT, across="50 steps"), height=HEIGHT), (
        "Every single mutant of a drawn sequence, red where it is less likely than the residue that is there: the "
        "chances that its family is drawn by, and what a small network of this form says after a short training on "
        "masked residues of the family, with its loss. Not the published weights, and no protein"
    )


def _taught(network: Esm) -> list[float]:
    """Train on masked residues of the family; the loss, means of 50 steps."""
    draws, chosen = np.random.default_rng(0), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.003)
    losses = []
    network.train()
    for _ in range(STEPS):
        tokens, layout = packed([encode(_member(draws)) for _ in range(BATCH)])
        residue = torch.arange(len(tokens)).view(BATCH, -1)[:, 1:-1].flatten()
        rows = residue[torch.rand(len(residue), generator=chosen) < 0.15]
        loss = torch.nn.functional.cross_entropy(
            network(tokens.index_fill(0, rows, MASK), layout, rows=rows), tokens[rows]
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    network.eval()
    return [float(mean) for mean in np.array(losses).reshape(-1, 50).mean(axis=1)]


def _member(draws: np.random.Generator) -> str:
    """A sequence of the family."""
    strays = draws.uniform(size=len(FAMILY)) < STRAY
    return "".join(
        draws.choice(list(RESIDUES if stray else group)) for stray, group in zip(strays, FAMILY, strict=True)
    )

"""What tests of weights are made from."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from omlab.card_schema import ModelCard, WeightsFile

from .serving import BODY


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.InstanceNorm3d(2, affine=True), torch.nn.Linear(2, 3))


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def described(url: str, *, body: bytes | None = BODY, **changes: object) -> WeightsFile:
    """A card's entry, past the schema, which allows no plain http. `body` None: sha256 and size unknown."""
    known = {"size": len(body), "sha256": sha256(body)} if body is not None else {"size": None, "sha256": None}
    return WeightsFile.model_construct(**{"name": "w.bin", "url": url, "approximate_size": 1 << 20, **known, **changes})


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock" and p.name != "omlab.json")


def model_card(name: str = "net", *, default: str = "untrained", **weights: Any) -> ModelCard:
    """A model card with these weights by tag, each given by its place: `files=[...]`, `repository=...`, ..."""
    return ModelCard.model_validate(card_data(name, default=default, **weights))


def card_data(name: str, *, default: str = "untrained", needs: dict[str, str] | None = None, **weights: Any) -> Any:
    """The same as a plugin gives it."""
    published = {tag: {"summary": "Weights.", "licence": "CC0-1.0", **facts} for tag, facts in weights.items()}
    return {
        "name": name,
        "summary": "A network.",
        "entry": "net.model:load",
        "licence": "Apache-2.0",
        "does": {"predict": {"takes": {"signal": "signal"}, "gives": "signal"}},
        "intended_use": "Tests.",
        "limits": "All.",
        "citation": "None.",
        "default_weights": default,
        "needs": needs or {},
        "weights": published,
    }


FETCH = """
import sys, warnings
from omlab import weights
from omlab.card_schema import WeightsFile
name, url, size, sha256 = sys.argv[1:]
file = WeightsFile.model_construct(name=name, url=url, size=int(size), sha256=sha256, approximate_size=None)
print(weights.fetch(file))
"""


def start_fetch(file: WeightsFile) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", FETCH, file.name, file.url, str(file.size), str(file.sha256)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)

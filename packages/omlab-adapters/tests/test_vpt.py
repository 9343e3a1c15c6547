"""The adapter `vpt` on transformers of timm within a toy model, through the jobs that commands run."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import omlab
from omlab.errors import OmlabError
from omlab.jobs.adapt import adapt
from omlab_adapters.vpt import heads_of


def run(output: str, model: str = "tinyvit.untrained", **settings: Any) -> Path:
    recipe = settings.pop("recipe", "classification")
    seed = settings.pop("seed", 0)
    chosen = {"steps": 3, **settings}
    return adapt(model, "stripes", adapter="vpt", recipe=recipe, output=output, seed=seed, settings=chosen).place


def answers(model: str | Path, verb: str = "predict") -> list[Any]:
    session = omlab.load_model(model)
    return session.apply(verb, [case.load().inputs for case in omlab.load_dataset("stripes").cases("test")])


@pytest.mark.parametrize(
    ("model", "recipe", "prompt", "shape"),
    [
        ("tinyvit", "classification", "encoder.prompt", (2, 3, 16)),
        ("tinyvit", "own", "encoder.prompt", (2, 3, 16)),
        ("tinyswin", "classification", "encoder.layers.prompt", (1, 3, 8)),
    ],
)
def test_prompts_and_heads_alone_are_trained_and_stored(
    pictures: Path, model: str, recipe: str, prompt: str, shape: tuple[int, ...]
) -> None:
    depth = "deep" if model == "tinyvit" else "shallow"
    folder = run("mine", f"{model}.untrained", recipe=recipe, depth=depth, length=3, init="uniform")
    stored = load_file(folder / "weights.safetensors")
    assert {name for name in stored if name.split(".")[1] != "head"} == {prompt}
    assert stored[prompt].shape == shape
    assert {found.kind for found in answers(folder)} == {"classes"}


@pytest.mark.parametrize("is_drawn", [True, False])
def test_a_head_of_as_many_classes_as_before_learns_too(is_drawn: bool) -> None:
    """Its shape does not tell that it is new; one that retargeting keeps is still what tells the classes."""
    before = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    after = deepcopy(before)
    if is_drawn:
        after[1].reset_parameters()
    target: Any = SimpleNamespace(module=after, layers=lambda: [["0.weight", "0.bias"], ["1.weight", "1.bias"]])
    assert heads_of(target, before.state_dict()) == {"1.weight", "1.bias"}


def test_what_was_trained_comes_back(pictures: Path) -> None:
    """The history's last loss is that of the restored model's neighbourhood: it learned, and still knows."""
    folder = run("mine", steps=200, rate=0.05, depth="deep", length=4)
    cases = omlab.load_dataset("stripes").cases("test")
    right = [
        found.predicted == case.load().target.predicted  # type: ignore[union-attr]
        for found, case in zip(answers(folder), cases, strict=True)
    ]
    history = json.loads((folder / "history.json").read_text())
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert sum(right) / len(right) > 0.6
    assert [a.probabilities for a in answers(folder)] == [a.probabilities for a in answers(folder)]


def test_the_seed_decides(pictures: Path) -> None:
    first, same, other = (
        load_file(run(name, seed=seed) / "weights.safetensors") for name, seed in (("one", 0), ("two", 0), ("three", 1))
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["encoder.prompt"], other["encoder.prompt"])


def test_prompts_change_what_is_embedded(pictures: Path) -> None:
    folder = run("mine", length=2)
    before, after = answers("tinyvit.untrained", "embed"), answers(folder, "embed")
    assert any((a.vector != b.vector).any() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("tinynet.untrained", {}, "vpt puts prompts into one Vision or Swin Transformer, but Net has none"),
        ("tinyswin.untrained", {"depth": "deep"}, "set depth=shallow"),
        ("tinyvit.untrained", {"init": "token"}, "init"),
        ("tinyvit.untrained", {"length": 0}, "length"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(pictures: Path, model: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(OmlabError, match=message):
        run("mine", model, **more)
    assert not (pictures / "mine").exists()


def test_a_prompted_model_embeds_for_probes_but_is_not_trained_further(pictures: Path) -> None:
    run("mine")
    probe = adapt("mine", "stripes", adapter="nearest-centroid", output="probe").place
    assert {found.kind for found in answers(probe)} == {"classes"}
    with pytest.raises(OmlabError, match="cannot be trained further"):
        run("again", "mine")

"""Recipe x adapter composes: every recipe of a toy model with every adapter, through the jobs that commands run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import omlab
from omlab.errors import OmlabError, SettingsError, UsageError
from omlab.jobs.adapt import adapt
from omlab.models import ModelBase, find_model, load_adapter
from omlab_adapters.training import trainable_of

RECIPES = {"classification": "classes", "regression": "scores", "denoising": "classes", "own": "classes"}
TRAINED: dict[str, dict[str, Any]] = {
    "finetune": {},
    "finetune-last": {"part": "last-blocks", "blocks": 1},
    "finetune-head": {"part": "head"},
    "lora": {"rank": 2, "alpha": 4},
}
PROBES: dict[str, dict[str, Any]] = {"linear-probe": {}, "knn": {"neighbours": 5}, "nearest-centroid": {}}


def run(output: str, *, adapter: str, recipe: str | None = None, seed: int = 0, **settings: Any) -> Path:
    data = {"data.target": "scores"} if recipe == "regression" else {}
    outcome = adapt(
        "tinynet.untrained",
        "stripes",
        adapter=adapter.split("-last")[0].split("-head")[0] if adapter.startswith("finetune") else adapter,
        recipe=recipe,
        output=output,
        seed=seed,
        settings={**data, **settings},
    )
    return outcome.place


def answers(model: str | Path, verb: str = "predict") -> list[Any]:
    session = omlab.load_model(model)
    cases = omlab.load_dataset("stripes").cases("test")
    return session.apply(verb, [case.load().inputs for case in cases])


def accuracy(model: str | Path) -> float:
    cases = omlab.load_dataset("stripes").cases("test")
    pairs = zip(answers(model), cases, strict=True)
    return sum(found.predicted == case.load().target.predicted for found, case in pairs) / len(cases)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("adapter", TRAINED)
def test_every_recipe_goes_with_every_adapter(pictures: Path, adapter: str, recipe: str) -> None:
    folder = run("mine", adapter=adapter, recipe=recipe, steps=12, **TRAINED[adapter])
    verb, kind = ("embed", "embedding") if recipe == "denoising" else ("predict", RECIPES[recipe])
    description = json.loads((folder / "adapted.json").read_text())
    assert description["does"][verb]["gives"] == kind
    assert {result.kind for result in answers(folder, verb)} == {kind}


@pytest.mark.parametrize("adapter", ["finetune", "lora"])
def test_training_teaches(pictures: Path, adapter: str) -> None:
    folder = run("mine", adapter=adapter, recipe="classification", steps=150, **TRAINED[adapter])
    assert accuracy(folder) > 0.8
    history = json.loads((folder / "history.json").read_text())
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


@pytest.mark.parametrize("adapter", PROBES)
def test_a_probe_reads_the_embeddings(pictures: Path, adapter: str) -> None:
    run("base", adapter="finetune", recipe="classification", steps=150)
    outcome = adapt("base", "stripes", adapter=adapter, output="probe", settings=PROBES[adapter])
    description = json.loads((outcome.place / "adapted.json").read_text())
    assert set(description["does"]) == {"embed", "predict"}
    assert accuracy("probe") > 0.8
    for found in answers("probe"):
        assert sum(found.probabilities) == pytest.approx(1)
    assert [e.vector.tolist() for e in answers("probe", "embed")] == [
        e.vector.tolist() for e in answers("base", "embed")
    ]


def test_a_few_shots_are_drawn_by_the_seed(pictures: Path) -> None:
    """A probe may be told the recipe too, as the same words then serve every adapter."""
    digests = {}
    for name, shots, seed in (("one", 2, 0), ("same", 2, 0), ("other", 2, 1), ("more", 3, 0)):
        how = {"adapter": "nearest-centroid", "recipe": "classification", "settings": {"shots": shots}}
        place = adapt("tinynet.untrained", "stripes", output=name, seed=seed, **how).place
        digests[name] = json.loads((place / "adapted.json").read_text())["data"]["digest"]
    assert digests["one"] == digests["same"]
    assert len(set(digests.values())) == 3


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def test_only_what_changed_is_stored(pictures: Path) -> None:
    head = stored(run("head", adapter="finetune", recipe="classification", steps=3, part="head"))
    assert set(head) == {"head.weight", "head.bias"}
    last = stored(run("last", adapter="finetune", recipe="classification", steps=3, part="last-blocks"))
    assert "body.2.weight" in last
    assert "body.0.weight" not in last
    lora = stored(run("lora", adapter="lora", recipe="classification", steps=3, rank=2))
    assert {name for name in lora if "lora_" not in name} == {"head.weight", "head.bias"} | {
        name for name in lora if "running" in name or "batches" in name
    }
    assert any(name.startswith("body.0.lora_A") for name in lora)
    whole = stored(run("all", adapter="finetune", recipe="classification", steps=3))
    assert len(whole) == len(omlab.load_model("tinynet.untrained").model.module.state_dict())  # type: ignore[attr-defined]


def test_a_head_drawn_anew_learns_whatever_its_shape(pictures: Path) -> None:
    """Three classes before and after: the new head has the old one's shape, and must not stay as it was drawn."""
    base = run("base", adapter="finetune", recipe="classification", steps=5)
    heads = {}
    for steps in (1, 20):
        how = {"adapter": "lora", "recipe": "classification", "settings": {"steps": steps, "rank": 2}}
        heads[steps] = stored(adapt(str(base), "stripes", output=f"lora-{steps}", **how).place)["head.weight"]
    assert not torch.equal(heads[1], heads[20])


def test_frozen_parts_keep_their_statistics(pictures: Path) -> None:
    before = omlab.load_model("tinynet.untrained").model.module.state_dict()  # type: ignore[attr-defined]
    run("head", adapter="finetune", recipe="classification", steps=5, part="head")
    after = omlab.load_model("head").model.module.state_dict()  # type: ignore[attr-defined]
    assert torch.equal(before["body.3.running_mean"], after["body.3.running_mean"])


def test_the_base_stays_as_it_is_and_the_same_seed_gives_the_same(pictures: Path) -> None:
    first = stored(run("one", adapter="finetune", recipe="classification", steps=5))
    second = stored(run("two", adapter="finetune", recipe="classification", steps=5))
    other = stored(run("three", adapter="finetune", recipe="classification", steps=5, seed=1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_what_processes_part_is_built_on_the_cpu_and_not_on_their_device(pictures: Path) -> None:
    """Torch's device without memory stands for one that has no room for the whole."""
    base = ModelBase(replace(find_model("tinynet.untrained"), device="meta"))
    for sharding, device in {"none": "meta", "full": "cpu"}.items():
        module: torch.nn.Module = trainable_of(base, {"sharding": sharding}).module
        assert {one.device.type for one in module.parameters()} == {device}


def test_a_merged_lora_gives_what_was_trained(pictures: Path) -> None:
    """Worked into the weights it must answer as it did beside them."""
    base = ModelBase(find_model("tinynet.untrained"))
    _, adapter, _ = load_adapter("lora", {"rank": 2})
    data = omlab.load_dataset("stripes")
    folder = pictures / "work"
    folder.mkdir()
    seen: list[Any] = []
    import omlab_adapters.lora as module

    trained = module.train

    def spy(target: Any, *rest: Any, **more: Any) -> Any:
        seen.append(target)
        return trained(target, *rest, **more)

    module.train = spy
    try:
        made = adapter.fit(
            base, data, recipe="classification", settings={"steps": 20, "rate": 0.02}, seed=0, folder=folder
        )
    finally:
        module.train = trained
    restored: Any = adapter.restore(base, config=made.config, tensors=made.tensors)
    inputs = [case.load().inputs for case in data.cases("test")]
    with torch.inference_mode():
        x = seen[0]._in(inputs)
        assert torch.allclose(seen[0].module.eval()(x), restored.module.eval()(x), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            {"adapter": "lora", "recipe": "classification", "targets": "nowhere"},
            OmlabError,
            "No layer ends in nowhere",
        ),
        ({"adapter": "finetune", "recipe": "classificaton"}, UsageError, "did you mean 'classification'"),
        ({"adapter": "finetune"}, UsageError, "4 recipes: name one with --recipe"),
        ({"adapter": "knn", "recipe": "denoising"}, UsageError, "takes no recipe"),
        ({"adapter": "knn", "shots": 99}, UsageError, "has cases of .* groups .*, but 99 shots were asked for"),
        (
            {"adapter": "finetune", "recipe": "classification", "part": "last-blocks", "blocks": 9},
            OmlabError,
            "2 blocks below its head",
        ),
        ({"adapter": "finetune", "recipe": "classification", "rank": 3}, SettingsError, "no setting 'rank'"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    pictures: Path, call: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run("mine", **call)
    assert not (pictures / "mine").exists()


def test_a_model_advises_an_adapter(pictures: Path) -> None:
    folder = run("mine", adapter="lora", recipe="denoising", steps=3)
    assert json.loads((folder / "adapted.json").read_text())["config"]["layers"] == ["body.0"]


def test_a_probe_needs_two_classes(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    omlab.load_dataset("stripes")
    case = sys.modules["omlab_pictures.data"].StripesCase
    monkeypatch.setattr(case, "label", "across", raising=False)  # what a list says of a case counts, unread
    with pytest.raises(OmlabError, match="a probe needs two classes"):
        run("probe", adapter="knn")

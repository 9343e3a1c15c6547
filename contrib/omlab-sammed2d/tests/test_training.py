"""The recipe: its phases, what learns in each, its batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import GeometryError, TrainingError
from omlab.roles import Sample
from omlab_image.image import Image, LabelMap2D
from omlab_sammed2d.model import SamMed2dModel
from omlab_sammed2d.training import ClickRecipe, Phases
from omlab_testkit.held import Held
from omlab_volume.testing import example_labelmaps, example_volumes

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "steps_per_epoch": 2,
    "images": 2,
    "masks": 2,
    "rounds": 3,
    "learning_rate": 0.001,
    "halve": False,
    "encoder": "adapters",
    "freeze_point_embeddings": False,
}
MakeHeld = Callable[..., Held]


def model() -> SamMed2dModel:
    made = omlab.load_model("sammed2d-tiny.untrained", device="cpu").model
    assert isinstance(made, SamMed2dModel)
    return made


def sample(number: int = 0) -> Sample:
    rng = np.random.default_rng(number)
    labels = np.zeros((40, 50), np.uint8)
    labels[5:25, 8:30], labels[28:38, 20:45] = 1, 2
    pixels = (labels * 90 + rng.integers(0, 40, labels.shape)).astype(np.uint8)
    return Sample(id=f"case {number}", inputs={"image": Image(array=pixels)}, target=LabelMap2D(array=labels))


def recipe(data: Held, **changed: Any) -> ClickRecipe:
    return model().recipe("clicks", data, settings=SETTINGS | changed, seed=5)


def test_batches_are_functions_of_seed_and_step(held: MakeHeld) -> None:
    made = recipe(held(samples=[sample(0), sample(1)]))
    copied = copy.deepcopy(made.batches)
    for step in range(9):
        for (name, one), other in zip(made.batches(step).items(), copied(step).values(), strict=True):
            assert torch.equal(torch.as_tensor(one), torch.as_tensor(other)), name
    phases = [made.batches(step)["phase"] for step in range(9)]
    assert phases == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    first = made.batches(0)
    assert first["images"].shape == (2, 3, 128, 128)
    assert first["truth"].shape == (4, 1, 128, 128)
    assert first["truth"].flatten(1).any(1).all()
    assert made.batches(3)["draws"].shape == (4, 0)  # the last phase has the mask alone
    assert made.batches(2)["draws"].shape == (4, 0)  # of three phases the one in the middle too
    assert made.batches(1)["draws"].shape[1] in (1, 3, 5, 9)
    assert {("boxes" in made.batches(4 * n)) for n in range(12)} == {True, False}


def test_only_the_decoder_learns_after_the_first_phase(held: MakeHeld) -> None:
    made = recipe(held(samples=[sample()]))
    loss, figures = made.loss(made.batches(0))
    loss.backward()
    learnt = {name.split(".")[0] for name, one in made.sam.named_parameters() if one.grad is not None}
    assert learnt == {"image_encoder", "prompt_encoder", "mask_decoder"}
    assert 0 <= figures["dice"] <= 1
    made.sam.zero_grad(set_to_none=True)
    loss, _ = made.loss(made.batches(1))
    loss.backward()
    learnt = {name.split(".")[0] for name, one in made.sam.named_parameters() if one.grad is not None}
    assert learnt == {"mask_decoder"}


def test_what_learns_is_said_by_the_settings(held: MakeHeld) -> None:
    data = held(samples=[sample()])

    def names(**changed: Any) -> set[str]:
        made = recipe(data, **changed)
        chosen = {id(one) for group in made.groups() for one in group["params"]}
        return {name for name, one in made.sam.named_parameters() if id(one) in chosen}

    usual, every = names(), names(encoder="all")
    assert {name for name in usual if name.startswith("image_encoder.")} == {n for n in every if ".Adapter." in n}
    assert len(every) == len(list(model().module.named_parameters()))
    frozen = usual - names(freeze_point_embeddings=True)
    assert frozen == {
        f"prompt_encoder.{name}.weight" for name in ("point_embeddings.0", "point_embeddings.1", "not_a_point_embed")
    }


@pytest.mark.slow
def test_a_few_steps_lower_the_loss(held: MakeHeld) -> None:
    torch.manual_seed(0)
    made = recipe(held(samples=[sample(n) for n in range(3)]), encoder="all", rounds=1)
    optimizer = torch.optim.Adam([{"params": group["params"]} for group in made.groups()], lr=0.001)
    losses = []
    for step in range(24):
        loss, _ = made.loss(made.batches(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_the_rate_is_halved_where_asked_for(held: MakeHeld) -> None:
    data = held(samples=[sample()])
    plain, halved = recipe(data), recipe(data, halve=True)
    assert plain.epoch == 8
    assert [plain.schedule(8 * epoch) for epoch in (0, 5, 11)] == [1, 1, 1]
    assert [halved.schedule(8 * epoch) for epoch in (0, 4, 5, 9, 10)] == [1, 1, 0.5, 0.5, 0.25]


def test_slices_of_volumes_that_show_a_label(held: MakeHeld) -> None:
    volumes = zip(example_volumes(), example_labelmaps(), strict=True)
    samples = [Sample(id=str(n), inputs={"volume": v}, target=t) for n, (v, t) in enumerate(volumes)]
    made = recipe(held(samples=samples, kind="volume"))
    assert {picture.case for picture in made.batches.pictures} == {0, 1, 2}
    for step in (0, 1, 2):
        loss, _ = made.loss(made.batches(step))
        assert torch.isfinite(loss)


def test_what_nobody_annotated_is_neither_object_nor_error(held: MakeHeld) -> None:
    data = held(samples=[sample()], ignored=[2])
    made = recipe(data)
    assert {value for picture in made.batches.pictures for value in picture.values} == {1}
    batch = made.batches(0)
    assert batch["left_out"].any()
    made.loss(batch)
    phases = made.module
    assert isinstance(phases, Phases)
    assert (phases._full(phases._low)[batch["left_out"]] < 0).all()


def test_what_cannot_be_trained_on_is_one_sentence(held: MakeHeld) -> None:
    one = sample()
    empty, small = (LabelMap2D(array=array) for array in (np.zeros((40, 50), np.uint8), np.ones((4, 5), np.uint8)))
    for target, error, words in (
        (empty, TrainingError, "Nothing is labelled"),
        (small, GeometryError, "Case 'a': the labels are not on the grid"),
    ):
        data = held(samples=[Sample(id="a", inputs=one.inputs, target=target)], name=words)
        with pytest.raises(error, match=words):
            recipe(data)
    made = recipe(held(samples=[one]))
    with pytest.raises(TrainingError, match="begin without the one before"):
        made.loss(made.batches(1))

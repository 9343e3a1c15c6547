"""Networks fit own data: windows, stages and classes; what cannot be is one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import omlab
from omlab import About
from omlab.errors import SettingsError, WeightsWarning
from omlab_monai.networks import ARCHITECTURES, NetworkConfig, built, fitted, layers_of

FACTS = {
    "spacings": [[4.0, 1.0, 1.0]], "shapes": [[20, 90, 70]], "intensities": ["mr"], "channels": 2,
    "foreground": {"mean": 0.0, "std": 1.0, "percentile_00_5": 0.0, "percentile_99_5": 1.0},
}  # fmt: skip
ABOUT = About(
    inputs={"mr": "volume"}, target="labelmap", classes={0: "background", 2: "left kidney", 7: "liver"},
    facts={"mr": FACTS}, channels={"mr": ("t1", "t2")}, cases=1,
)  # fmt: skip
RECIPE: dict[str, Any] = {"spacing": [], "patch_size": [], "augment": True}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_takes_the_windows_that_are_planned_for_it(architecture: str) -> None:
    narrow = {"width": 8 if architecture == "vista3d" else 12}
    model = omlab.load_model(f"monai-{architecture}.untrained", device="cpu", settings=narrow)
    with pytest.warns(WeightsWarning, match="2 channels of the data and start anew"):
        trained = model.model.retarget("segmentation", ABOUT, settings=RECIPE, seed=0)
    assert trained.plan.spacing == (4.0, 1.0, 1.0)
    assert fitted(trained.plan.patch_size, trained.shape) == trained.plan.patch_size
    assert trained.task.mirror_axes == (0, 1)
    window = fitted((1, 1, 1), trained.shape)
    assert trained.module(torch.zeros(1, 2, *window)).shape == (1, 3, *window)
    names = [name for layer in trained.layers() for name in layer]
    assert sorted(names) == sorted(name for name, _ in trained.module.named_parameters())
    assert all(name.startswith(ARCHITECTURES[architecture].head) for name in trained.layers()[-1])
    again = omlab.load_model(f"monai-{architecture}.untrained", device="cpu", settings=narrow)
    assert all(map(torch.equal, model.model.module.parameters(), again.model.module.parameters()))


def test_dynunet_has_the_stages_of_the_data() -> None:
    model = omlab.load_model("monai-dynunet.untrained", device="cpu", settings={"width": 4})
    with pytest.warns(WeightsWarning):
        trained = model.model.retarget("segmentation", ABOUT, settings=RECIPE, seed=0)
    assert trained.shape.poolings[0] == (1, 2, 2)  # slices are 4 mm apart: they are halved later
    assert trained.config()["network"]["poolings"][0] == [1, 2, 2]


def test_wrong_windows_and_widths_are_one_sentence() -> None:
    with pytest.raises(SettingsError, match=r"multiples of \(32, 32, 32\), twice that at least: \(64, 64, 64\)"):
        omlab.load_model("monai-swinunetr.untrained", device="cpu", settings={"patch_size": [32, 64, 50]})
    with pytest.raises(SettingsError, match="needs a multiple of 12"):
        omlab.load_model("monai-swinunetr.untrained", device="cpu", settings={"width": 10})


def test_layers_begin_at_the_input_and_end_at_the_head() -> None:
    config = NetworkConfig(architecture="segresnet", width=8)
    layers = layers_of(built(config), config)
    assert layers[0] == ["convInit.conv.weight"]
    assert layers[-1][0].startswith("conv_final.")


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(name, marks=pytest.mark.slow) if name == "vista3d" else name for name in ARCHITECTURES],
)
def test_parameters_are_those_of_the_cards(architecture: str) -> None:
    model = omlab.load_model(f"monai-{architecture}.untrained", device="cpu")
    assert sum(value.numel() for value in model.model.module.parameters()) == model.card.parameters

"""VISTA3D: the network is MONAI's, turned to its axes; published files and bundles load; training keeps its classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets.vista3d import VISTA3D

import omlab
from omlab import About
from omlab.errors import SettingsError, WeightsError, WeightsWarning
from omlab_monai.vista3d import EVERYTHING, AutomaticVista3D
from omlab_volume.volume import Volume

SMALL = {"width": 8, "patch_size": [32, 32, 32], "spacing": [4.0, 4.0, 4.0]}


def network(classes: tuple[int, ...] = (3, 1, 14)) -> AutomaticVista3D:
    torch.manual_seed(0)
    return AutomaticVista3D(in_channels=1, width=8, classes=classes).eval()


def test_logits_are_those_of_monai_for_the_classes_asked_for() -> None:
    module = network()
    image = torch.randn(2, 1, 32, 48, 64)
    with torch.inference_mode():
        found = module(image)
        for n, one in enumerate(image):
            turned = one[None].transpose(2, 4)
            wanted = VISTA3D.forward(module, turned, class_vector=torch.tensor([[3], [1], [14]]))
            torch.testing.assert_close(found[n, 1:], wanted[:, 0].transpose(1, 3), atol=1e-4, rtol=1e-4)
    assert found.shape == (2, 4, 32, 48, 64)
    assert not found[:, 0].any()
    one = AutomaticVista3D(in_channels=1, width=8, classes=(5,)).eval()
    assert one(torch.zeros(1, 1, 32, 32, 32)).shape == (1, 2, 32, 32, 32)


def test_its_bundle_looks_for_117_classes() -> None:
    assert len(EVERYTHING) == 117
    assert {2, 20, 26, 132}.isdisjoint(EVERYTHING)


def write_bundle(folder: Path) -> Path:
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    torch.save(network().state_dict(), folder / "models" / "model.pt")
    names = {"0": "background", "1": "liver", "3": "spleen"}
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": names}}}}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    definition = {"network_def": "$monai.networks.nets.vista3d132(in_channels=@input_channels)"}
    (folder / "configs" / "inference.json").write_text(json.dumps(definition))
    return folder


def test_a_bundle_folder_names_its_classes(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "vista3d")
    settings = {**SMALL, "classes": [3, 1, 14]}
    session = omlab.load_model("monai-vista3d", weights=folder, device="cpu", settings=settings)
    labels = {label.value: label.name for label in session.model.task.labels}
    assert labels == {3: "spleen", 1: "liver", 14: "class 14"}
    array = np.random.default_rng(0).normal(0, 300, (1, 20, 20, 20)).astype(np.float32)
    found = session.predict(Volume(array=array, affine=np.diag([4.0, 4.0, 4.0, 1.0])))
    assert set(np.unique(found.array)) <= {0, 1, 3, 14}
    alone = omlab.load_model("monai-vista3d", weights=folder / "models" / "model.pt", device="cpu", settings=SMALL)
    assert len(alone.model.task.labels) == 117
    with pytest.raises(WeightsError, match="omlab predict monai-vista3d --weights"):
        omlab.load_model("monai-bundle", weights=folder, device="cpu")


@pytest.mark.parametrize("classes", [[0], [1, 1], [600], ["liver"]])
def test_classes_that_cannot_be_are_one_sentence(classes: list[Any]) -> None:
    with pytest.raises(SettingsError, match="numbers of VISTA3D's classes"):
        omlab.load_model("monai-vista3d.untrained", device="cpu", settings={**SMALL, "classes": classes})


def test_training_keeps_what_published_weights_know(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "vista3d")
    session = omlab.load_model("monai-vista3d", weights=folder, device="cpu", settings=SMALL)
    facts = {
        "spacings": [[1.0, 1.0, 1.0]], "shapes": [[80, 80, 80]], "intensities": ["ct"], "channels": 1,
        "foreground": {"mean": 40.0, "std": 90.0, "percentile_00_5": -100.0, "percentile_99_5": 300.0},
    }  # fmt: skip
    about = About(
        inputs={"ct": "volume"}, target="labelmap", classes={0: "background", 1: "cyst", 2: "stone"},
        facts={"ct": facts}, channels={"ct": ("ct",)}, cases=1,
    )  # fmt: skip
    recipe: dict[str, Any] = {"spacing": [], "patch_size": [], "augment": True}
    trained = session.model.retarget("segmentation", about, settings=recipe, seed=1)
    assert trained.shape.classes == (133, 134)
    assert trained.plan == session.model.plan
    assert all(map(torch.equal, trained.module.state_dict().values(), session.model.module.state_dict().values()))
    assert trained.module(torch.zeros(1, 1, 32, 32, 32)).shape == (1, 3, 32, 32, 32)
    fresh = omlab.load_model("monai-vista3d.untrained", device="cpu", settings={"width": 8})
    assert fresh.model.retarget("segmentation", about, settings=recipe, seed=1).plan.spacing == (1.0, 1.0, 1.0)
    two = About(**{**vars(about), "channels": {"ct": ("a", "b")}, "facts": {"ct": {**facts, "channels": 2}}})
    with pytest.warns(WeightsWarning, match="2 channels"):
        session.model.retarget("segmentation", two, settings=recipe, seed=1)

"""Bundles give what MONAI's own run of them gives; what they may not name is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bundles
import numpy as np
import pytest
import torch

import omlab
from omlab.errors import InputError, OmlabWarning, WeightsError
from omlab.weights import read_state_dict
from omlab_monai.bundle.config import Config
from omlab_volume.volume import Volume

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 1.5, 0.1, -20], [0, -0.1, 3.0, 7], [0, 0, 0, 1]])


def drawn(*, channels: int = 1) -> Volume:
    generator = np.random.default_rng(0)
    array = generator.normal(40, 120, (channels, 22, 25, 14)).astype(np.float32)
    return Volume(array=array, affine=AFFINE)


def by_monai(folder: Path, volume: Volume) -> np.ndarray[Any, Any]:
    """What the configuration gives where MONAI itself builds and runs it."""
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor

    config = json.loads((folder / "configs" / "inference.json").read_text())
    steps = config["preprocessing"]["transforms"]
    config["preprocessing"]["transforms"] = [
        step for step in steps if step["_target_"] not in ("LoadImaged", "EnsureChannelFirstd")
    ]
    config["postprocessing"]["transforms"].pop()
    config["imports"] = ["$import torch", "$import numpy"]
    parser = ConfigParser(config)
    parser.parse()
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(read_state_dict(folder / "models" / "model.pt", wrapper="model"))
    image = MetaTensor(torch.from_numpy(volume.array.copy()), affine=torch.from_numpy(np.array(volume.affine)))
    data = parser.get_parsed_content("preprocessing")({"image": image})
    with torch.inference_mode():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    found = parser.get_parsed_content("postprocessing")(data)["pred"]
    return np.asarray(found.as_tensor())[0].round().astype(int)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:inverse has been called:UserWarning")  # of MONAI's own run
@pytest.mark.parametrize("form", ["spleen", "whole_body", "brats"])
def test_a_bundle_gives_what_monai_gives(tmp_path: Path, form: str) -> None:
    channels = 4 if form == "brats" else 1
    names = {"0": "core", "1": "whole", "2": "enhancing"} if form == "brats" else None
    folder = bundles.write(tmp_path / "b", getattr(bundles, form)(), names=names, channels=channels)
    volume = drawn(channels=channels)
    found = omlab.load_model("monai-bundle", weights=folder, device="cpu").predict(volume)
    wanted = by_monai(folder, volume)
    assert len(np.unique(wanted)) > 1
    np.testing.assert_array_equal(found.array, wanted)
    assert found.same_grid(volume)
    names_found = {label.value: label.name for label in found.labels}
    assert names_found == ({1: "core", 2: "whole", 4: "enhancing"} if form == "brats" else {1: "spleen", 2: "tumour"})


def test_regions_that_overlap_get_the_label_of_the_smallest(tmp_path: Path) -> None:
    names = {"0": "core", "1": "whole", "2": "enhancing"}
    folder = bundles.write(tmp_path / "b", bundles.brats(labelled=False), names=names, channels=4)
    session = omlab.load_model("monai-bundle", weights=folder, device="cpu")
    with pytest.warns(OmlabWarning, match="overlap"):
        found = session.predict(drawn(channels=4))
    assert {label.value: label.name for label in found.labels} == {1: "core", 2: "whole", 3: "enhancing"}
    with pytest.raises(InputError, match="has 1 channels, but this bundle takes 4"):
        session.predict(drawn())


def test_yaml_and_another_file_are_read(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "b", bundles.spleen())
    text = (folder / "configs" / "inference.json").read_text()
    (folder / "configs" / "inference.json").rename(folder / "configs" / "mine.yaml")
    settings = {"bundle_config": "mine.yaml"}
    assert json.loads(text)["network_def"]["_target_"] == "UNet"
    omlab.load_model("monai-bundle", weights=folder, device="cpu", settings=settings).predict(drawn())
    with pytest.raises(WeightsError, match=r"no configs/inference.json or inference.yaml"):
        omlab.load_model("monai-bundle", weights=folder, device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network_def": {"_target_": "scripts.nets.Mine"}}, r"'network_def' is a scripts.nets.Mine, .* builds AHNet"),
        ({"network_def": {"_target_": "evil.UNet"}}, "is a evil.UNet, which omlab does not build"),
        ({"network_def": "$monai.networks.nets.vista3d132(in_channels=1)"},
         "VISTA3D's bundle, which runs code of its own: omlab predict monai-vista3d"),
        ({"network_def": "$monai.networks.nets.segresnet(in_channels=1)"}, "expression .* does not run"),
        ({"network_def": {**bundles.UNET, "channels": "$[2 ** 40]"}}, "'network_def::channels' is the expression"),
        ({"network_def": {**bundles.UNET, "channels": "$'a' * 999999999"}}, "is the expression"),
        ({"network_def": {**bundles.UNET, "wrong": 1}}, "MONAI refuses these arguments of UNet"),
        ({"network_def": {**bundles.UNET, "act": {"_target_": "torch.nn.ReLU"}}}, "'act' of UNet is no plain value"),
        ({"network_def": "@there"}, "has no entry 'there'"),
        ({"network_def": "@a", "a": "@network_def"}, "refers to itself"),
        ({"inferer": {"_target_": "scripts.inferer.Mine"}}, "'inferer' is a scripts.inferer.Mine"),
        ({"preprocessing": bundles.composed({"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x + 1"})},
         "expression '.lambda x: x . 1'"),
        ({"preprocessing": bundles.composed({"_target_": "EnsureTyped", "keys": ["image", "label"]})},
         "prepares image, label: omlab runs bundles of one image"),
        ({"preprocessing": {"_target_": "ScaleIntensityd"}}, "is no Compose"),
        ({"postprocessing": bundles.composed({"_target_": "Lambdad", "keys": "pred", "func": "@output_dir"})},
         "ends in a function of its own"),
    ],
)  # fmt: skip
def test_what_a_bundle_may_not_name_is_one_sentence(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = bundles.write(tmp_path / "b", bundles.spleen())
    (folder / "configs" / "inference.json").write_text(json.dumps({**bundles.spleen(), **change}))
    with pytest.raises(WeightsError, match=said) as error:
        omlab.load_model("monai-bundle", weights=folder, device="cpu")
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_bundle_or_has_other_weights_is_one_sentence(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "b", bundles.spleen())
    checkpoint = folder / "models" / "model.pt"
    with pytest.raises(WeightsError, match="is a file: give the folder of the bundle"):
        omlab.load_model("monai-bundle", weights=checkpoint, device="cpu")
    torch.save({"model": {"other.weight": torch.zeros(2)}}, checkpoint)
    with pytest.raises(WeightsError, match=r"other\.weight"):
        omlab.load_model("monai-bundle", weights=folder, device="cpu")
    checkpoint.unlink()
    with pytest.raises(WeightsError, match=r"has no models/model\.pt"):
        omlab.load_model("monai-bundle", weights=folder, device="cpu")
    (folder / "configs" / "inference.json").write_text("{")
    with pytest.raises(WeightsError, match="no configuration of a bundle"):
        omlab.load_model("monai-bundle", weights=folder, device="cpu")


def test_nothing_is_run(tmp_path: Path) -> None:
    path = tmp_path / "inference.json"
    trap = f"$__import__('pathlib').Path('{tmp_path / 'trap'}').touch()"
    path.write_text(
        json.dumps(
            {
                "used": trap,
                "also": "$@used.to(1)",
                "imports": ["$import os"],
                "fine": "$copy.deepcopy(@part) * 3",
                "part": "$1 + 2",
            }
        )
    )
    config = Config(path)
    for name in ("used", "also", "imports"):
        with pytest.raises(WeightsError, match="does not run"):
            config.value(name)
    assert config.value("fine") == 9
    assert not (tmp_path / "trap").exists()

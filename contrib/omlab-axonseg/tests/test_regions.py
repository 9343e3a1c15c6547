"""The region network: geometry, published files, label order, and a training on labelled and unlabelled brains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import omlab
from omlab.errors import SettingsError, WeightsError
from omlab.weights.handed import Rules, Weights
from omlab_axonseg.cea_net import CeaNet
from omlab_axonseg.region_network import TINY, RegionConfig, RegionNet, untrained
from omlab_axonseg.region_slices import as_atlas, decided, enlarged, from_atlas, probabilities, scaled
from omlab_axonseg.region_training import MeanTeacher, SliceBatches
from omlab_axonseg.regions import load
from omlab_volume.big.payloads import big
from omlab_volume.testing import example_grids, example_volumes
from omlab_volume.volume import Label, LabelMap, Volume


@pytest.mark.parametrize("number", range(len(example_grids())))
def test_a_brain_is_turned_as_the_atlas_counts_and_back(number: int) -> None:
    grid = example_grids()[number]
    array = np.random.default_rng(0).integers(0, 9, grid.shape)
    np.testing.assert_array_equal(from_atlas(as_atlas(array, grid), grid), array)


def test_slices_begin_at_the_top_left_and_front() -> None:
    volume = Volume(array=np.zeros((1, 2, 3, 4), np.float32), affine=np.eye(4))  # right, front, up
    volume.array[0, 0, 2, 3] = 1  # the leftmost, foremost, uppermost voxel
    assert as_atlas(volume.array[0], volume.grid)[0, 0, 0] == 1
    volume.array[0] = 0
    volume.array[0, 1, 0, 0] = 1  # the rightmost, hindmost, lowest one
    turned = as_atlas(volume.array[0], volume.grid, begin="IRP")
    assert turned[0, 0, 0] == 1
    np.testing.assert_array_equal(from_atlas(turned, volume.grid, begin="IRP"), volume.array[0])


def test_later_regions_lie_over_earlier_ones() -> None:
    share = np.array([[[[0.9, 0.8, 0.1]]], [[[0.7, 0.69, 0.2]]]])
    assert decided(share, least=0.7).reshape(-1).tolist() == [2, 1, 0]


def test_a_constant_slice_is_zero() -> None:
    slices = torch.stack([torch.full((1, 2, 2), 7.0), torch.arange(4.0).view(1, 2, 2)])
    assert scaled(slices).flatten(1).tolist() == [[0, 0, 0, 0], pytest.approx([0, 1 / 3, 2 / 3, 1])]


def test_probabilities_are_the_mean_of_the_views() -> None:
    class Constant(RegionNet):
        def forward(self, slices: torch.Tensor, *, view: str) -> torch.Tensor:
            logit = {"coronal": -100.0, "horizontal": 100.0}[view]
            assert slices.shape[2:] == self.config.slice_size(view)
            return torch.full((len(slices), 2, *slices.shape[2:]), logit)

    sizes = RegionConfig(**{**TINY, "sizes": (192, 224, 256)})
    share = probabilities(Constant(sizes), np.random.default_rng(0).random((5, 6, 7)), batch_size=4, device="cpu")
    assert share.shape == (2, 5, 6, 7)
    np.testing.assert_allclose(share, 0.5)


def published(folder: Path, *, classes: int = 2, numbers: tuple[int, ...] = (1, 2)) -> dict[int, CeaNet]:
    """Files as upstream's training writes them."""
    networks = {}
    for number in numbers:
        torch.manual_seed(number)
        networks[number] = CeaNet(num_classes=classes, widths=(4, 4, 8, 8), blocks=(1, 1, 1, 1)).eval()
        state = {f"module.{key}": one for key, one in networks[number].state_dict().items()}
        torch.save({"net": state, "epoch": 100}, folder / f"epoch100_{number}.pth")
    return networks


def test_published_files_of_one_view_and_of_both_load(tmp_path: Path) -> None:
    networks = published(tmp_path)
    one = omlab.load_model("brain-regions-tiny", weights=tmp_path / "epoch100_2.pth", device="cpu")
    assert one.model.module.config.views == ("horizontal",)
    rules = Rules(wrapper="net", prefix="module.")
    files = {path.name: path for path in sorted(tmp_path.iterdir())}
    weights = Weights(tag="both", files=files, rules=dict.fromkeys(files, rules))
    settings = {**one.model.settings, "region_names": ["cortex", "stem"]}
    both = load(one.card, weights=weights, needs={}, device="cpu", settings=settings, config=None)
    assert both.module.config.views == ("coronal", "horizontal")
    slices = torch.rand(1, 1, 192, 192)
    for view, network in zip(("coronal", "horizontal"), networks.values(), strict=True):
        torch.testing.assert_close(both.module(slices, view=view), network(slices))
    assert [label.name for label in both.labels] == ["cortex", "stem"]
    with pytest.raises(SettingsError, match="3 names, but the network knows 2"):
        omlab.load_model("brain-regions-tiny.untrained", device="cpu", settings={"region_names": ["a", "b", "c"]})


def test_a_file_that_does_not_tell_its_view_is_asked_for(tmp_path: Path) -> None:
    published(tmp_path, numbers=(1,))
    (tmp_path / "epoch100_1.pth").rename(tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="say which with -s views=coronal"):
        omlab.load_model("brain-regions-tiny", weights=tmp_path / "model.pth", device="cpu")
    found = omlab.load_model(
        "brain-regions-tiny", weights=tmp_path / "model.pth", device="cpu", settings={"views": ["horizontal"]}
    )
    assert found.model.module.config.views == ("horizontal",)
    with pytest.raises(SettingsError, match="views must be some of"):
        omlab.load_model("brain-regions-tiny.untrained", device="cpu", settings={"views": ["sagittal"]})


def test_a_thinned_out_label_map_fills_its_volume() -> None:
    volume = big(example_volumes()[0])
    thin = volume.coarse(most=5)
    factor = -(-max(volume.grid.shape) // 5)
    coarse = LabelMap(
        array=np.arange(thin.array[0].size, dtype=np.uint16).reshape(thin.array.shape[1:]),
        affine=thin.affine,
        labels=(Label(value=1, name="a"),),
    )
    whole = enlarged(coarse, volume, factor=factor).loaded()
    assert whole.array.shape == volume.grid.shape
    places = np.argwhere(coarse.array >= 0)
    world = places @ thin.affine[:3, :3].T + thin.affine[:3, 3]
    back = np.linalg.inv(volume.affine)
    voxels = np.rint(world @ back[:3, :3].T + back[:3, 3]).astype(int)
    voxels = np.minimum(voxels, np.array(volume.grid.shape) - 1)  # of a block that is cut off its last voxel is taken
    np.testing.assert_array_equal(whole.array[tuple(voxels.T)], coarse.array.reshape(-1))


def brain(seed: int, *, labelled: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.zeros((192, 192, 192), np.uint8)
    labels[60:120, 50:100, 40:140] = 1
    image = (rng.normal(0, 0.2, labels.shape) + labels).astype(np.float32)
    used = {"coronal": np.arange(40, 140), "horizontal": np.arange(60, 120)}
    return {"image": image, "labels": labels if labelled else np.zeros(0, np.uint8), **used}


def test_batches_take_turns_and_are_a_function_of_the_number() -> None:
    batches = SliceBatches(
        labelled=(brain(0, labelled=True),),
        unlabelled=(brain(1, labelled=False),),
        views=("coronal", "horizontal"),
        num_classes=1,
        slices=4,
        seed=3,
    )
    first, second = batches(0), batches(1)
    assert (int(first["view"]), int(second["view"])) == (0, 1)
    assert first["image"].shape == (4, 1, 192, 192)
    assert first["labels"].shape == (2, 1, 192, 192)
    again = batches(1)
    assert all(torch.equal(second[name], again[name]) for name in second)


def test_the_teacher_follows_and_sees_the_mirrored_slice() -> None:
    student = untrained(RegionConfig(**TINY, views=("coronal",)))
    module = MeanTeacher(student, mirror=True).eval()
    slices = torch.rand(2, 1, 192, 192)
    logits, share = module(slices, labelled=1, view="coronal")
    torch.testing.assert_close(share, student(slices[1:].flip(3), view="coronal").sigmoid().flip(3))
    assert logits.shape == (2, 2, 192, 192)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    before = [one.clone() for one in module.teacher.parameters()]
    module.train()._follow()
    assert all(torch.equal(a, b) for a, b in zip(module.teacher.parameters(), student.parameters(), strict=True))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    module._follow()
    for now, was in zip(module.teacher.parameters(), before, strict=True):
        torch.testing.assert_close(now, was + 1.5)
